package supervisor

import (
	"testing"

	"github.com/creack/pty"

	"github.com/pillion-dev/pillion/runtime/supervisor/guard"
)

// A resized window, or a job that goes on, has the terminal taken anew, which may
// take a moment. Whoever gives it back meanwhile gives it back as it was.
func TestATerminalThatIsToBeTakenAnewIsGivenBack(t *testing.T) {
	t.Parallel()
	master, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = master.Close(), tty.Close() })
	for name, giveBack := range map[string]func(*keyboard){"pause": (*keyboard).pause, "stop": (*keyboard).stop} {
		k, err := newKeyboard(tty, true)
		if err != nil {
			t.Fatal(err)
		}
		if front, _ := k.take(); !front {
			t.Fatal("not in front of a terminal of our own")
		}
		k.resume()
		giveBack(k)
		if now, err := guard.GetTermios(tty.Fd()); err != nil || *now != *k.saved {
			t.Errorf("after %s the terminal is %+v, %v; want %+v", name, now, err, k.saved)
		}
		k.close()
	}
}
