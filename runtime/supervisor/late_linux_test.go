package supervisor

import (
	"errors"
	"io"
	"os"
	"testing"
	"time"
)

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
