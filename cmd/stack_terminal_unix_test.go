//go:build unix

package cmd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/porttest"
)

// runFileOnScreen writes a run file, its ports filled in, and runs it on a
// terminal of 100 columns.
func runFileOnScreen(t *testing.T, text string, args ...string) *screen {
	t.Helper()
	dir := t.TempDir()
	for strings.Contains(text, "@") {
		port, err := porttest.Take()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(port.Release)
		name := text[strings.Index(text, "@"):][:3]
		text = strings.ReplaceAll(text, name, port.String())
	}
	if err := os.WriteFile(filepath.Join(dir, "dapr.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return runOnScreen(t, append([]string{"-f", dir}, args...)...)
}

// closed waits until nobody can write to the terminal any more and all has been
// read.
func (s *screen) closed() {
	s.t.Helper()
	limit := time.After(waitLimit)
	for {
		_, more := s.text()
		select {
		case <-s.read:
			return
		case <-more:
		case <-limit:
			s.t.Fatal("the terminal is still open")
		}
	}
}

// Each app has a terminal of its own, as wide as the room beside the names; the
// last row says how everybody is; Ctrl-C is heard by all.
func TestSeveralAppsShareATerminal(t *testing.T) {
	t.Parallel()
	s := runFileOnScreen(t, `version: 1
apps:
- appID: web
  appDirPath: .
  appPort: @A@
  command: [actor, "@A@"]
- appID: worker
  appDirPath: .
  command: [sh, -c, 'test -t 1 && test -t 2 && ! test -t 0 && stty size <&1; printf "\033[31mred\n"; printf "50%%\r100%%\n"; printf "\033[2Jclear\n"; exec actor']
`)
	s.await("│\x1b[0m 50 91") // 100 columns without worker, blank, bar, blank
	s.await("│\x1b[0m \x1b[31mred\x1b[m\r\n")
	s.await("│\x1b[0m 100%\r\n")
	s.await("│\x1b[0m clear\r\n")
	s.await("worker │\x1b[0m actor is up\r\n")
	s.await("pillion:\x1b[0m \x1b[32m✓\x1b[0m ready\x1b[2m · \x1b[0mapp ")
	s.await("\x1b[32m✓\x1b[0m web   \x1b[32m✓\x1b[0m worker")
	s.press("\x03")
	s.await("stopping 2 apps")
	s.await("Ctrl-C again to stop now")
	if got := s.status(); got != 0 {
		t.Errorf("exit status %d, want 0", got)
	}
	for _, app := range []string{"web    ", "worker "} {
		s.await(app + "│\x1b[0m actor got terminated\r\n")
		s.await(app + "│\x1b[0m actor ends\r\n")
	}
	s.closed()
	shown, _ := s.text()
	if strings.Contains(shown, "\x1b[2J") {
		t.Errorf("an app cleared everybody's screen:\n%q", shown)
	}
	if !strings.HasSuffix(shown, "\n") && !strings.HasSuffix(shown, "\r\x1b[K") {
		t.Errorf("the bottom row is left behind: %q", shown[max(0, len(shown)-200):])
	}
}

func TestASecondCtrlCStopsSeveralAppsAtOnce(t *testing.T) {
	t.Parallel()
	s := runFileOnScreen(t, `version: 1
apps:
- {appID: deaf, appDirPath: ., command: [actor, -deaf]}
- {appID: mute, appDirPath: ., command: [actor, -deaf]}
`, "--grace", "1h")
	s.await("deaf │\x1b[0m actor is up")
	s.await("mute │\x1b[0m actor is up")
	s.await("✓\x1b[0m deaf   \x1b[32m✓\x1b[0m mute")
	s.press("\x03")
	s.await("Ctrl-C again to stop now")
	s.press("\x03")
	if got := s.status(); got != 0 {
		t.Errorf("exit status %d, want 0", got)
	}
	s.await("killed what did not end by itself: actor")
}

// The command has the terminal, as the app of a single run has it, and no row
// at the bottom comes between.
func TestTheCommandOfARunFileHasTheTerminal(t *testing.T) {
	t.Parallel()
	s := runFileOnScreen(t, `version: 1
name: shop
apps:
- {appID: web, appDirPath: ., appPort: @A@, command: [actor, "@A@"]}
`, "--", "sh", "-c", `test -t 0 && test -t 1 && stty size && printf 'name? ' && read name && echo "hello $name" && exec actor -exit 5`)
	s.await("50 100\r\n")
	s.await("name? ")
	s.press("Ada\r")
	s.await("hello Ada\r\nactor is up\r\n")
	s.press("\x03")
	if got := s.status(); got != 5 {
		t.Errorf("exit status %d, want the command's, 5", got)
	}
	s.closed()
	s.await("shop-command ended\x1b[2m · \x1b[0mexit 5")
	shown, _ := s.text()
	if _, after, _ := strings.Cut(shown, "50 100"); strings.Contains(after, "\x1b[K") {
		t.Errorf("a bottom row is drawn beside the command: %q", after)
	}
}

// Who is started again, and who runs on although its newest source does not, is
// seen in the last row.
func TestTheBottomRowSaysWhoRestartsAndWhoIsStale(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := runFileOnScreen(t, `version: 1
apps:
- appID: web
  appDirPath: `+dir+`
  appPort: @A@
  watch: true
  build: test ! -e broken
  command: [actor, "@A@"]
- appID: worker
  appDirPath: .
  restart: always
  command: [sh, -c, exit 3]
`)
	s.await("\x1b[2m↻\x1b[0m worker \x1b[33mrestarting\x1b[0m")
	s.await("\x1b[32m✓\x1b[0m web   ")
	broken := filepath.Join(dir, "broken")
	if err := os.WriteFile(broken, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.await("\x1b[33m!\x1b[0m web \x1b[33mSTALE\x1b[0m   ")
	if err := os.Remove(broken); err != nil {
		t.Fatal(err)
	}
	s.await("\x1b[32m✓\x1b[0m restarted")
	s.press("\x03")
	s.status()
	s.closed()
}
