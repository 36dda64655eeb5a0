package cmd

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pillion-dev/pillion/cmd/internal/ui"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/human"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/tls/identity"
)

// defaultWait bounds the wait for an answer to begin: as long as a callee is
// held while it starts for the first time. An answer may stream for longer.
const defaultWait = config.DefaultStartHold

// A caller carries calls through the mesh as an identity of its own.
type caller interface {
	invoke.Handler
	Self() identity.ID
	Close() error
}

// newCallerFunc makes the caller; sidecar.NewCaller is behind the one there is.
type newCallerFunc func(ctx context.Context, home config.Home, cfg config.Sidecar) (caller, error)

type invokeOptions struct {
	app, method string
	verb        string
	data        string
	dataFile    string
	headers     []string
	query       []string
	include     bool
	timing      bool
	verbose     bool
	as          string
	timeout     string

	verbGiven, dataGiven bool
}

func newInvokeCmd(c *ui.Console, connect newCallerFunc) *cobra.Command {
	o := invokeOptions{verb: http.MethodPost, as: identity.CLI}
	cmd := &cobra.Command{
		Use:   "invoke <app-id> <method> [flags]",
		Short: "Call a method of an app through the mesh",
		Long: "Call a method of an app through the mesh, as a caller of its own: found by name, " +
			"over mutual TLS, under the app's rules. The answer's body goes to stdout, byte for byte.",
		Example: `pillion invoke todo-api tasks -X GET
pillion invoke todo-api tasks -d '{"title":"Buy milk"}'
pillion invoke todo-api tasks -d @task.json --timing`,
		Annotations:       map[string]string{noteStatus: statusInvoke, noteExits: exitsInvoke},
		ValidArgsFunction: completeTarget(c),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.verbGiven = cmd.Flags().Changed("verb")
			o.dataGiven = cmd.Flags().Changed("data")
			if err := o.target(args); err != nil {
				return err
			}
			return runInvoke(cmd, c, connect, o)
		},
	}
	request := group(cmd, "Request")
	request.text(&o.verb, "verb", "X", "<verb> GET, PUT, DELETE … [POST]")
	request.text(&o.data, "data", "d", "<body> literal, @file, or @- for stdin")
	request.text(&o.dataFile, "data-file", "f", "<file> with the body")
	request.texts(&o.headers, "header", "H", "<header> as 'Name: value'")
	request.texts(&o.query, "query", "", "<pair> a query parameter, as name=value")
	request.value(&durationValue{}, "timeout", "", "<time> for the whole call [60s to the answer]")
	answer := group(cmd, "Answer")
	answer.on(&o.include, "include", "i", "status and headers, too, on stderr")
	answer.on(&o.timing, "timing", "", "where the time went")
	answer.on(&o.verbose, "verbose", "", "which instance answered, and how it was found")
	mesh := group(cmd, "Mesh")
	mesh.text(&o.as, "as", "", "<name> call as this app [pillion-cli]")
	mesh.setting("namespace", "n", "<name> the group of apps to call in [default]")
	mesh.setting("discovery", "", "<list> where to look: local, mdns, static [all]")
	mesh.setting("peer", "", "<peer> a static peer, as [app-id=]host:port")
	mesh.toggle("lan", "look on the local network, too")
	mesh.setting("resolve-timeout", "", "<time> to look for an unknown name [1s]")
	mesh.setting("hold", "", "<time> to wait for a known app [10s]")
	dapr := group(cmd, "As dapr invoke")
	dapr.text(&o.app, "app-id", "a", "<name> the app")
	dapr.text(&o.method, "method", "m", "<method> the method")
	// -v is one flag with --verb and -X.
	dapr.value(cmd.Flags().Lookup("verb").Value, "verb-", "v", "<verb> the verb")
	cmd.Flags().Lookup("verb-").Hidden = true
	return cmd
}

// target takes app and method from the arguments, or from the flags of `dapr
// invoke`.
func (o *invokeOptions) target(args []string) error {
	for _, to := range []*string{&o.app, &o.method} {
		if *to == "" && len(args) > 0 {
			*to, args = args[0], args[1:]
		}
	}
	switch {
	case o.app == "":
		return usageError("which app?", "pillion invoke <app-id> <method>; pillion list shows what runs", "pillion", "list")
	case len(args) > 0:
		return usageError(fmt.Sprintf("one argument too many: %q", args[0]),
			"a body goes to -d, a query parameter to --query")
	case o.method == "":
		return usageError("which method of "+o.app+"?", "pillion invoke "+o.app+" <method>, / for the root")
	}
	return nil
}

func runInvoke(cmd *cobra.Command, c *ui.Console, connect newCallerFunc, o invokeOptions) error {
	o.verbGiven = o.verbGiven || cmd.Flags().Changed("verb-")
	o.timeout = cmd.Flags().Lookup("timeout").Value.String()
	call, err := o.call(c)
	if err != nil {
		return err
	}
	home, cfg, err := invokeConfig(c, given(cmd), o.as)
	if err != nil {
		return errors.Join(err, call.close())
	}
	from, err := connect(cmd.Context(), home, cfg)
	if err != nil {
		return errors.Join(err, call.close())
	}
	x := exchange{c: c, o: o, from: from, call: call}
	err = x.run(cmd.Context())
	return errors.Join(err, from.Close())
}

// invokeConfig is how the caller finds others: the same settings as a
// sidecar's.
func invokeConfig(c *ui.Console, flags config.Given, as string) (config.Home, config.Sidecar, error) {
	if err := identity.CheckAppID(as); err != nil {
		return config.Home{}, config.Sidecar{}, usageError("--as: "+err.Error(), "")
	}
	home, err := config.FindHome(c.Getenv)
	if err != nil {
		return home, config.Sidecar{}, err
	}
	file, err := config.Load(home.ConfigFile())
	if err != nil {
		return home, config.Sidecar{}, err
	}
	delete(flags, "app-id") // here it is the callee
	cfg, unread := config.Resolve(flags, c.Getenv, file)
	cfg.SetCommand(nil, nil)
	cfg.AppID = "caller" // a valid one: the real one may be reserved
	err = errors.Join(unread, cfg.Validate())
	cfg.AppID = as
	return home, cfg, err
}

// An exchange is one call and what is shown of it.
type exchange struct {
	c    *ui.Console
	o    invokeOptions
	from caller
	call *request

	began  time.Time
	head   time.Duration // until the answer's head
	total  time.Duration
	timing invoke.Timing
	sent   shown
}

func (x *exchange) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if x.o.timeout != "" {
		d, err := config.ParseDuration(x.o.timeout)
		if err != nil {
			return err
		}
		if d > 0 {
			var stop context.CancelFunc
			ctx, stop = context.WithTimeout(ctx, d)
			defer stop()
		}
	}
	answer, err := x.ask(ctx, cancel)
	if err != nil {
		return err
	}
	defer answer.Body.Close() //nolint:errcheck // read to its end, or given up
	if x.o.include {
		x.c.Err.Print(headText(answer))
	}
	err = x.show(answer)
	x.total = time.Since(x.began)
	x.timing.Body = x.total - x.head
	x.freshRow()
	if err != nil {
		return err
	}
	if x.o.verbose {
		x.sayWho(answer)
	}
	if x.o.timing {
		x.chart(answer)
	}
	x.warnOfStale(answer)
	return x.judge(ctx, answer)
}

// errNoAnswer is why a call without --timeout is given up.
var errNoAnswer = errors.New("no answer began")

// ask sends the call and waits for the head of its answer.
func (x *exchange) ask(ctx context.Context, cancel context.CancelCauseFunc) (*invoke.Answer, error) {
	x.call.Timing = &x.timing
	x.began = time.Now()
	limit := defaultWait
	if deadline, ok := ctx.Deadline(); ok {
		limit = time.Until(deadline).Round(time.Millisecond)
	} else if x.o.timeout == "" {
		timer := time.AfterFunc(defaultWait, func() { cancel(errNoAnswer) })
		defer timer.Stop()
	} else {
		limit = 0 // --timeout 0: for ever
	}
	var answer *invoke.Answer
	err := x.c.Err.Wait(ctx, func(waited time.Duration) []string {
		row := human.Age(waited)
		if limit > 0 {
			row += " of " + human.Duration(limit)
		}
		return []string{"waiting for " + x.call.Target.App + " to answer", row}
	}, func(ctx context.Context) error {
		var err error
		answer, err = x.from.Serve(ctx, x.call.Call)
		return err
	})
	x.head = time.Since(x.began)
	if err != nil && errors.Is(context.Cause(ctx), errNoAnswer) {
		e := apperr.From(err)
		return nil, &apperr.Error{
			Reason: apperr.DeadlineExceeded, Hop: timedOutAt(e), Reached: e.Reached, Instance: e.Instance, Err: err,
			What:  x.call.Target.Given + " did not answer within " + human.Duration(defaultWait),
			Cause: x.whereItWent(),
			Hint:  "--timeout gives it longer",
		}
	}
	return answer, x.withAdvice(err)
}

// withAdvice says what to do about a time that is up. A caller that is no
// person has set its own and knows.
func (x *exchange) withAdvice(err error) error {
	if !apperr.Is(err, apperr.DeadlineExceeded) {
		return err
	}
	e := *apperr.From(err)
	if e.Hint == "" {
		e.Hint = "--timeout gives it longer; pillion logs " + x.call.Target.App + " may say what it does"
	}
	return &e
}

// timedOutAt is the hop a call hung in, if anybody knows.
func timedOutAt(e *apperr.Error) apperr.Hop {
	if e.Reason == apperr.Cancelled {
		return ""
	}
	return e.At()
}

// whereItWent says in which step a call that was given up spent its time.
func (x *exchange) whereItWent() string {
	t := x.timing
	var most time.Duration
	where := ""
	for _, step := range []struct {
		name string
		d    time.Duration
	}{
		{"looking for it", t.Resolve},
		{"connecting", t.Connect + t.TLS},
		{"held until its app is ready", t.Held},
		{"in the app", t.App},
	} {
		if step.d > most {
			most, where = step.d, step.name
		}
	}
	if where == "" {
		return ""
	}
	return human.Duration(most) + " of it " + where
}

// request is a call and its body's length, before it is sent.
type request struct {
	*invoke.Call
	empty bool // there is no body
}

func (r *request) close() error {
	if r.Body == nil {
		return nil
	}
	return r.Body.Close()
}

// path is the call's path without its query, which may hold secrets.
func (r *request) path() string {
	path, _, _ := strings.Cut(r.Path, "?")
	return ui.Printable(path)
}
