package lesson_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pillion-dev/pillion/docs"
	"github.com/pillion-dev/pillion/internal/porttest"
)

// Every command that the page teaches is run, in its order, in a folder with
// the lesson's run file: a block of sh to its end, one marked background until
// its app is ready.
func TestTheSkillsCommandsDoWhatItSays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.runFile("dapr.yaml", inGo)
	w.env = append(w.env, "PATH="+filepath.Dir(program("pillion"))+":/usr/local/bin:/usr/bin:/bin")
	blocks := shellBlocks(strings.ReplaceAll(docs.Skill, "3599", porttest.Reserve(t).String())) // a port of its own
	if len(blocks) < 8 {
		t.Fatalf("%d blocks of sh", len(blocks))
	}
	for _, b := range blocks {
		if b.background {
			w.behind(b.text)
			continue
		}
		if out, err := w.shell(b.text).CombinedOutput(); err != nil {
			t.Fatalf("%s\n%v\n%s", b.text, err, out)
		}
	}
	if left := w.list(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestTheSkillIsShort holds the page to what it promises to be.
func TestTheSkillIsShort(t *testing.T) {
	t.Parallel()
	if lines := strings.Count(docs.Skill, "\n"); lines >= 150 {
		t.Errorf("the page has %d lines", lines)
	}
	out, _, status := newWorld(t).pillion("docs", "--skill")
	if status != 0 || out != docs.Skill {
		t.Errorf("pillion docs --skill: exit %d, %d bytes of %d", status, len(out), len(docs.Skill))
	}
}

type shellBlock struct {
	text       string
	background bool
}

func shellBlocks(page string) (all []shellBlock) {
	var b *shellBlock
	for line := range strings.Lines(page) {
		switch mark, isMark := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "```"); {
		case isMark && b != nil:
			all, b = append(all, *b), nil
		case isMark && (mark == "sh" || mark == "sh background"):
			b = &shellBlock{background: mark != "sh"}
		case b != nil:
			b.text += line
		}
	}
	return all
}

// shell is a script in the world's folder, with the todo-api's door if it runs.
func (w *world) shell(script string) *exec.Cmd {
	c := exec.CommandContext(w.t.Context(), "sh", "-euc", script)
	c.Dir, c.Env = w.dir, slices.Clip(w.env)
	for _, i := range w.list() {
		if i.AppID == "todo-api" {
			c.Env = append(c.Env, fmt.Sprintf("DAPR_HTTP_PORT=%d", i.HTTPPort))
		}
	}
	return c
}

// behind starts a script and waits until its apps are ready.
func (w *world) behind(script string) {
	w.t.Helper()
	r := start(w.t, w.shell("exec "+script))
	r.app = strings.TrimSpace(script)
	w.t.Cleanup(func() { w.end(r) })
	if strings.Contains(script, " -f ") {
		r.await("apps of dapr.yaml are ready")
		return
	}
	r.await("'s sidecar is up")
}
