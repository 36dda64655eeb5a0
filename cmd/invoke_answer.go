package cmd

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pillion-dev/pillion/cmd/internal/ui"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/human"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// shown is what of the answer's body has gone to Out.
type shown struct {
	bytes int64
	last  byte
}

// show copies the body to Out as it arrives.
func (x *exchange) show(answer *invoke.Answer) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := answer.Body.Read(buf)
		if n > 0 {
			piece := buf[:n]
			if _, werr := x.c.Out.Write(piece); werr != nil {
				return &ui.Exit{Status: exitFailed, Err: &apperr.Error{
					Reason: apperr.Internal, What: "the answer cannot be written", Cause: werr.Error(), Err: werr,
				}}
			}
			x.sent.bytes += int64(n)
			x.sent.last = piece[len(piece)-1]
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return x.brokenOff(err)
		}
	}
}

func (x *exchange) brokenOff(err error) error {
	if _, ok := errors.AsType[*apperr.Error](err); ok {
		return err
	}
	return &apperr.Error{
		Reason: apperr.AppGone, Err: err,
		What:  fmt.Sprintf("the answer of %s broke off after %s", x.call.Target.App, human.Size(x.sent.bytes)),
		Cause: err.Error(),
	}
}

// freshRow lets the prompt start on a row of its own without adding a byte to
// Out.
func (x *exchange) freshRow() {
	if x.sent.bytes > 0 && x.sent.last != '\n' && x.c.Out.Terminal() && x.c.Err.Terminal() {
		x.c.Err.Print("\n")
	}
}

// headText is the answer's status and headers, as HTTP writes them.
func headText(a *invoke.Answer) string {
	var out strings.Builder
	proto := "HTTP/1.1"
	if a.Major == 2 {
		proto = "HTTP/2"
	}
	out.WriteString(proto + " " + statusText(a.Status) + "\n")
	for _, f := range a.Fields {
		out.WriteString(ui.Printable(f.Name) + ": " + ui.Printable(f.Value) + "\n")
	}
	if a.Length >= 0 && len(a.Fields.Values("content-length")) == 0 { // it is no field on its way through the mesh
		out.WriteString("content-length: " + strconv.FormatInt(a.Length, 10) + "\n")
	}
	return out.String() + "\n"
}

func statusText(status int) string {
	return strings.TrimSpace(strconv.Itoa(status) + " " + http.StatusText(status))
}

// sayWho says which instance answered and how it was found.
func (x *exchange) sayWho(a *invoke.Answer) {
	facts := []string{"answered by instance " + ui.Printable(a.Instance)}
	if a.Endpoint.Source != "" {
		facts = append(facts, "found by "+a.Endpoint.Source)
	}
	if len(a.Endpoint.Addrs) > 0 {
		facts = append(facts, a.Endpoint.Addrs[0].String())
	}
	if a.Attempts > 1 {
		facts = append(facts, human.Count(a.Attempts, "attempt"))
	}
	facts = append(facts, a.Peer.String(), "called as "+x.from.Self().String())
	x.c.Err.Say(ui.NoMark, facts...)
}

// warnOfStale says that who answered is not what its newest source says. Of
// other machines nobody knows here.
func (x *exchange) warnOfStale(a *invoke.Answer) {
	m, err := findMachine(x.c)
	if err != nil {
		return
	}
	live, err := m.live(false)
	if err != nil {
		return // the answer is there
	}
	for _, e := range live {
		if e.ID != a.Instance || e.Stale == "" {
			continue
		}
		logs := []string{"pillion", "logs", e.App}
		x.c.Err.Warn(&apperr.Error{
			What:  e.App + " is " + staleWord + " since " + x.c.Err.Moment(e.StaleSince, time.Now()) + ": an old process answered",
			Cause: e.Stale, Hint: strings.Join(logs, " "), Run: logs,
		})
	}
}
