package supervisor

import (
	"errors"
	"io"
	"os"
	"testing"
	"time"
)

// The echo of a key does not wait for a write that hangs, and is not lost.
func TestAnEchoIsWrittenBehindAWriteThatHangs(t *testing.T) {
	t.Parallel()
	r, w := io.Pipe()
	lost := time.AfterFunc(time.Minute, func() { _ = r.CloseWithError(errors.New("nothing more came")) })
	defer lost.Stop()
	g := &guarded{w: w}
	written := make(chan struct{})
	go func() { defer close(written); _, _ = g.Write([]byte("words\n")) }()
	b := make([]byte, 1)
	if _, err := r.Read(b); err != nil { // the write hangs: it has more
		t.Fatal(err)
	}
	g.leave([]byte("^C\n"))
	rest := make([]byte, len("ords\n^C\n"))
	if _, err := io.ReadFull(r, rest); err != nil {
		t.Fatal(err)
	}
	<-written
	if got, want := string(b)+string(rest), "words\n^C\n"; got != want {
		t.Errorf("written %q, want %q", got, want)
	}
}

// Whoever sets a limit and then gets no time from a busy machine reads after it.
func TestAReadThatComesLateTakesWhatIsThere(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = r.Close(), w.Close() })
	s := newStream(r, nil, nil)
	b := make([]byte, 8)
	late := func() (string, error) {
		if err := r.SetReadDeadline(time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
		n, err := s.read(b)
		return string(b[:n]), err
	}
	if _, err := w.WriteString("words"); err != nil {
		t.Fatal(err)
	}
	if got, err := late(); got != "words" || err != nil {
		t.Errorf("with words there: %q, %v", got, err)
	}
	if got, err := late(); got != "" || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("with nothing there: %q, %v", got, err)
	}
	_ = w.Close()
	if got, err := late(); got != "" || !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %q, %v", got, err)
	}
}
