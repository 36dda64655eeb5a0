package cmd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/pillion-dev/pillion/cmd/internal/ui"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/human"
	"github.com/pillion-dev/pillion/logs"
	"github.com/pillion-dev/pillion/runtime/config"
)

// terminalTail is how many lines a terminal is shown unasked.
const terminalTail = 200

// What -o may say.
const (
	logText = "text"
	logJSON = "json"
	logRaw  = "raw"
)

type logsOptions struct {
	apps      []string
	follow    bool
	tail      string
	since     string
	until     string
	grep      string
	run       string
	noPrefix  bool
	times     bool
	output    string
	namespace string
}

func newLogsCmd(c *ui.Console) *cobra.Command {
	var o logsOptions
	output := &outputValue{c: c, known: []string{logText, logJSON, logRaw}}
	cmd := &cobra.Command{
		Use:   "logs [<app-id>[/<instance>]...] [flags]",
		Short: "Show what apps said, in earlier runs too",
		Long: "Show what apps said, and pillion of them. Without a name: all apps that run, or else the " +
			"latest run of each, merged by time. On a terminal the last 200 lines.",
		Example: `pillion logs -f
pillion logs todo-api --run -1
pillion logs --since 10m --grep 'error|panic'`,
		ValidArgsFunction: completeLogs(c),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.apps, o.output = args, output.value
			return runLogs(cmd.Context(), c, o)
		},
	}
	lines := group(cmd, "Which lines")
	lines.on(&o.follow, "follow", "f", "go on with what comes, until Ctrl-C")
	lines.text(&o.tail, "tail", "", "the last `number` of lines, or all [all]")
	lines.text(&o.since, "since", "", "from this `time` on: 10m, 14:02 or RFC 3339")
	lines.text(&o.until, "until", "", "up to this `time`")
	lines.text(&o.grep, "grep", "", "lines that match this regular `expression`")
	lines.text(&o.run, "run", "", "`number` of a run; -1: the last that ended")
	lines.text(&o.namespace, "namespace", "n", "only the group of this `name` [all]")
	shape := group(cmd, "How")
	shape.on(&o.times, "time", "", "the time in front of each line")
	shape.on(&o.noPrefix, "no-prefix", "", "no names in front of merged lines")
	shape.value(output, "output", "o", "`format`: text, json or raw [text]")
	// The flag was added above, so this cannot fail.
	_ = cmd.RegisterFlagCompletionFunc("run", completeRuns(c))
	return cmd
}

func runLogs(ctx context.Context, c *ui.Console, o logsOptions) error {
	m, err := findMachine(c)
	if err != nil {
		return err
	}
	now := time.Now()
	query, err := o.query(now)
	if err != nil {
		return err
	}
	store, err := logs.Open(m.home.Logs(), logs.Limits{})
	if err != nil {
		return err
	}
	choice := &logChoice{store: store, namespace: o.namespace, began: now}
	if choice.run, err = parseRun(o.run); err != nil {
		return err
	}
	if query.Runs, err = choice.first(o.apps); err != nil {
		return err
	}
	if choice.empty {
		c.Err.Say(ui.NoMark, "nothing has run here yet")
		c.Err.Hint("pillion run --app-id todo-api -- <command> starts the first app", "pillion", "run", "--app-id", "todo-api", "--", "<command>")
	}
	if len(query.Runs) == 0 && !o.follow {
		return nil
	}
	if o.follow && choice.run == 0 {
		query.Next = choice.newer
	}
	query.Logger = slog.New(sayHandler{c.Err})
	show := logShow{c: c, store: store, o: o, out: o.printer(c, query)}
	err = show.run(ctx, query)
	if errors.Is(err, syscall.EPIPE) {
		return nil // who read has seen enough
	}
	return err
}

// A logShow is one query being shown.
type logShow struct {
	c     *ui.Console
	store *logs.Store
	o     logsOptions
	out   logPrinter
}

// run shows the query. A terminal that asked for nothing in particular is
// shown the end, and told how much came before.
func (s logShow) run(ctx context.Context, q logs.Query) error {
	if s.c.Out.TTY && s.o.plain() {
		q.Tail = terminalTail
		if err := s.before(q.Runs); err != nil {
			return err
		}
	}
	if next := q.Next; next != nil {
		q.Next = func() ([]logs.RunInfo, error) {
			runs, err := next()
			s.out.met(runs)
			return runs, err
		}
	}
	q.Ended, q.Idle = s.out.ended, s.out.idle
	err := s.store.Read(ctx, q, s.out.line)
	if flushed := s.out.done(); err == nil {
		err = flushed
	}
	if err == nil && !s.out.shown() && len(q.Runs) > 0 {
		s.c.Err.Say(ui.NoMark, s.o.nothing(q.Runs))
	}
	return err
}

// plain reports whether no particular lines were asked for.
func (o logsOptions) plain() bool {
	return o.output == "" && o.tail == "" && o.since == "" && o.until == "" && o.grep == ""
}

// before says how many lines come before those a terminal is shown.
func (s logShow) before(runs []logs.RunInfo) error {
	var total int64
	for _, run := range runs {
		n, err := s.store.Count(run)
		if err != nil {
			return err
		}
		total += n
	}
	if more := total - terminalTail; more > 0 {
		again := append(append([]string{"pillion", "logs"}, s.o.again()...), "--tail", "all")
		s.c.Err.Say(ui.NoMark, human.Count(more, "line")+" before these", shellCommand(again))
	}
	return nil
}

// again are the words that choose the same runs once more.
func (o logsOptions) again() []string {
	words := append([]string{}, o.apps...)
	if o.run != "" {
		words = append(words, "--run", o.run)
	}
	if o.namespace != "" {
		words = append(words, "--namespace", o.namespace)
	}
	return words
}

// nothing says why there is nothing to show.
func (o logsOptions) nothing(runs []logs.RunInfo) string {
	who := runs[0].App + " has said nothing"
	if len(runs) > 1 {
		who = "no app has said anything"
	}
	if o.grep != "" || o.since != "" || o.until != "" {
		return "no line matches"
	}
	return who
}

// query is what the flags ask for, without the runs.
func (o logsOptions) query(now time.Time) (logs.Query, error) {
	q := logs.Query{Follow: o.follow}
	var errs []error
	if o.tail != "" && o.tail != "all" {
		n, err := strconv.Atoi(o.tail)
		if err != nil || n < 0 {
			errs = append(errs, usageError(fmt.Sprintf("--tail: %q is not a number of lines", o.tail), "--tail 50, or --tail all"))
		}
		q.Tail, q.NoTail = n, n == 0
	}
	for _, f := range []struct {
		flag, given string
		to          *time.Time
	}{{"since", o.since, &q.Since}, {"until", o.until, &q.Until}} {
		if f.given == "" {
			continue
		}
		at, err := parseMoment(f.given, now)
		if err != nil {
			errs = append(errs, usageError("--"+f.flag+": "+err.Error(), "--"+f.flag+" 10m, 14:02 or 2026-11-22T14:02:00Z"))
		}
		*f.to = at
	}
	if o.grep != "" {
		var err error
		if q.Grep, err = regexp.Compile(o.grep); err != nil {
			errs = append(errs, usageError("--grep: "+plainRegexp(err), "to search for text as it is: --grep '"+regexp.QuoteMeta(o.grep)+"'"))
		}
	}
	return q, errors.Join(errs...)
}

// plainRegexp is what is wrong with an expression, in the library's words
// without its name.
func plainRegexp(err error) string {
	return strings.TrimPrefix(err.Error(), "error parsing regexp: ")
}

// parseRun reads --run. 0 means that none was asked for.
func parseRun(s string) (int, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n == 0 {
		return 0, usageError(fmt.Sprintf("--run: %q is not the number of a run", s), "--run 7, or --run -1 for the last that ended")
	}
	return n, nil
}

// momentLayouts are the moments people type, in the local zone. The clock
// alone means the last time it showed that.
var momentLayouts = []string{
	"2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02T15:04", time.DateOnly,
}

// parseMoment reads a moment: how long ago, a time of day, or a date with or
// without one.
func parseMoment(s string, now time.Time) (time.Time, error) {
	if d, err := config.ParseDuration(s); err == nil {
		return now.Add(-max(d, -d)), nil
	}
	if at, err := time.Parse(time.RFC3339, s); err == nil {
		return at, nil
	}
	for _, layout := range momentLayouts {
		if at, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return at, nil
		}
	}
	for _, layout := range []string{time.TimeOnly, "15:04"} {
		clock, err := time.Parse(layout, s)
		if err != nil {
			continue
		}
		at := time.Date(now.Year(), now.Month(), now.Day(), clock.Hour(), clock.Minute(), clock.Second(), clock.Nanosecond(), now.Location())
		if at.After(now) {
			at = at.AddDate(0, 0, -1)
		}
		return at, nil
	}
	return time.Time{}, fmt.Errorf("%q is not a time", s)
}

// sayHandler shows warnings of the reader as lines of ours.
type sayHandler struct{ to *ui.Printer }

func (h sayHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }
func (h sayHandler) WithAttrs([]slog.Attr) slog.Handler           { return h }
func (h sayHandler) WithGroup(string) slog.Handler                { return h }
func (h sayHandler) Handle(_ context.Context, r slog.Record) error {
	h.to.Warn(&apperr.Error{Reason: apperr.OwnConfig, What: r.Message})
	return nil
}
