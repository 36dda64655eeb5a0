package ui

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

func TestStageBeginsOurLineOnARowOfItsOwn(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		app, want string
	}{
		"after a whole row": {"hello\n", "hello\npillion: x\n"},
		"after half a row":  {"hello", "hello\npillion: x\n"},
		"before anything":   {"", "pillion: x\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var screen bytes.Buffer
			s := NewStage(&screen)
			if c.app != "" {
				_, _ = io.WriteString(s.App(), c.app)
			}
			_, _ = io.WriteString(s.Ours(), "pillion: x\n")
			if screen.String() != c.want {
				t.Errorf("shown %q, want %q", screen.String(), c.want)
			}
		})
	}
}

func TestStageBeginsANewRowAfterAnEchoedCtrlC(t *testing.T) {
	t.Parallel()
	var screen bytes.Buffer
	s := NewStage(&screen)
	_, _ = io.WriteString(s.App(), "hello\n")
	s.Echoed()
	_, _ = io.WriteString(s.Ours(), "pillion: stopping\n")
	if want := "hello\n\npillion: stopping\n"; screen.String() != want {
		t.Errorf("shown %q, want %q", screen.String(), want)
	}
}

func TestStageHoldsOurLinesWhileTheAppShowsAFullScreen(t *testing.T) {
	t.Parallel()
	var screen bytes.Buffer
	s := NewStage(&screen)
	// The code that enters is split between two writes.
	_, _ = io.WriteString(s.App(), "\x1b[?10")
	_, _ = io.WriteString(s.App(), "49hediting")
	_, _ = io.WriteString(s.Ours(), "pillion: held\n")
	if strings.Contains(screen.String(), "held") {
		t.Fatalf("our line was drawn over a full screen: %q", screen.String())
	}
	_, _ = io.WriteString(s.App(), "\x1b[?1049l")
	if want := "\x1b[?1049hediting\x1b[?1049l\npillion: held\n"; screen.String() != want {
		t.Errorf("shown %q, want %q", screen.String(), want)
	}
}

func TestStageShowsWhatWasHeldWhenTheAppDies(t *testing.T) {
	t.Parallel()
	var screen bytes.Buffer
	s := NewStage(&screen)
	_, _ = io.WriteString(s.App(), "\x1b[?1049hx\n")
	_, _ = io.WriteString(s.Ours(), "pillion: ended\n")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(screen.String(), "x\npillion: ended\n") {
		t.Errorf("shown %q", screen.String())
	}
}

func TestStagePassesEveryByteOfTheApp(t *testing.T) {
	t.Parallel()
	var screen bytes.Buffer
	s := NewStage(&screen)
	in := bytes.Repeat([]byte("\x00\xff\x1b[31m\x1b[?25l\r\n\x1b"), 1000)
	for i := 0; i < len(in); i += 7 {
		_, _ = s.App().Write(in[i:min(i+7, len(in))])
	}
	if !bytes.Equal(screen.Bytes(), in) {
		t.Error("the app's bytes were changed")
	}
}
