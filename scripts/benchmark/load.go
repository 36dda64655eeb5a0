package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/pillion-dev/pillion/scripts/internal/grpcload"
	"github.com/pillion-dev/pillion/scripts/internal/smallapp"
)

// A shape is what one call carries: so many bytes up, and down (0: the short
// answer).
type shape struct {
	Up, Down int
}

// A scenario is what is measured.
type scenario struct {
	Proto string
	shape
	Connections int
	Streams     int // calls under way at once on each connection; HTTP: 1
}

// An outcome is what a load generator says, and what it took itself.
type outcome struct {
	calls, failed int
	elapsed       time.Duration
	p50, p90, p99 time.Duration
	cpu           time.Duration
	cause         string
}

// load sends s through to for so long.
func (b *bench) load(ctx context.Context, to *subject, s scenario, long time.Duration) (outcome, error) {
	run := b.wrk
	if s.Proto == protoGRPC {
		run = b.grpc
	}
	o, err := run(ctx, to, s, long)
	switch {
	case ctx.Err() != nil:
		return o, context.Cause(ctx)
	case err != nil:
		return o, fmt.Errorf("%s, %s: %w", to.name, s, err)
	case o.calls == 0:
		return o, fmt.Errorf("%s, %s: no call got through: %s", to.name, s, o.cause)
	}
	return o, nil
}

// wrk has one thread, whatever the connections: it must leave the cores to
// those it measures.
func (b *bench) wrk(ctx context.Context, to *subject, s scenario, long time.Duration) (outcome, error) {
	path := smallapp.Notify
	if s.Down > 0 {
		path = smallapp.Bytes + strconv.Itoa(s.Down)
	}
	cmd := exec.CommandContext(ctx, "wrk", "-t1", "-c"+strconv.Itoa(s.Connections), //nolint:gosec // our own words
		"-d"+strconv.FormatFloat(max(1, long.Seconds()), 'f', 0, 64)+"s", "--timeout", "10s", "-s", b.lua, to.base+path)
	cmd.Env = environ("BENCH_BODY=" + strconv.Itoa(s.Up))
	out, cpu, err := measured(cmd)
	if err != nil {
		return outcome{}, err
	}
	o, err := parseWrk(out)
	o.cpu = cpu
	return o, err
}

// grpc runs our own generator, as a process so that it is measured like wrk.
func (b *bench) grpc(ctx context.Context, to *subject, s scenario, long time.Duration) (outcome, error) {
	method := "Notify"
	if s.Down > 0 {
		method = "Bytes" + strconv.Itoa(s.Down)
	}
	text, err := json.Marshal(grpcload.Load{
		Address: to.address, Path: smallapp.Service + method, Metadata: to.metadata, Message: s.Up,
		Connections: s.Connections, Streams: s.Streams, Duration: long,
	})
	if err != nil {
		return outcome{}, err
	}
	cmd := exec.CommandContext(ctx, b.self, "load", string(text)) //nolint:gosec // ourselves
	cmd.Env = environ()
	out, cpu, err := measured(cmd)
	if err != nil {
		return outcome{}, err
	}
	r, err := grpcload.ParseResult(out)
	return outcome{
		calls: r.Calls, failed: r.Failed, elapsed: r.Elapsed,
		p50: r.P50, p90: r.P90, p99: r.P99, cpu: cpu, cause: r.Cause,
	}, err
}

// measured runs a load generator and says its CPU time.
func measured(cmd *exec.Cmd) (out []byte, cpu time.Duration, err error) {
	ownGroup(cmd)
	var said bytes.Buffer
	cmd.Stderr = &said
	if out, err = cmd.Output(); err != nil {
		return nil, 0, fmt.Errorf("%s: %w\n%s%s", cmd.Args[0], err, out, said.Bytes())
	}
	return out, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}

// wrkLine is the one line our script makes wrk print.
var wrkLine = regexp.MustCompile(`(?m)^bench requests=(\d+) duration=(\d+) failed=(\d+) p50=(\d+) p90=(\d+) p99=(\d+)$`)

// parseWrk reads what wrk printed. Its times are microseconds.
func parseWrk(out []byte) (outcome, error) {
	m := wrkLine.FindSubmatch(out)
	if m == nil {
		return outcome{}, fmt.Errorf("wrk said nothing that can be read:\n%s", out)
	}
	var n [6]int
	for i := range n {
		var err error
		if n[i], err = strconv.Atoi(string(m[i+1])); err != nil {
			return outcome{}, err
		}
	}
	return outcome{
		calls: n[0], elapsed: microseconds(n[1]), failed: n[2],
		p50: microseconds(n[3]), p90: microseconds(n[4]), p99: microseconds(n[5]),
		cause: "see wrk",
	}, nil
}

func microseconds(n int) time.Duration { return time.Duration(n) * time.Microsecond }

// answers says if a POST is answered with 200.
func answers(ctx context.Context, url string) error {
	status, body, err := post(ctx, url)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("POST %s: status %d: %s", url, status, strings.TrimSpace(string(body)))
	}
	return err
}

// post sends a small POST on a connection of its own.
func post(ctx context.Context, url string) (status int, body []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader("{}")) //nolint:gosec // loopback
	if err != nil {
		return 0, nil, err
	}
	r.Close = true
	answer, err := http.DefaultClient.Do(r) //nolint:gosec // as above
	if err != nil {
		return 0, nil, err
	}
	defer func() { err = errors.Join(err, answer.Body.Close()) }()
	body, err = io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	return answer.StatusCode, body, err
}

// String names the scenario in a table.
func (s scenario) String() string {
	text := fmt.Sprintf("%s %s, %d %s", s.Proto, s.shape, s.Connections, plural(s.Connections, "connection"))
	if s.Streams > 1 {
		text += fmt.Sprintf(" with %d calls each", s.Streams)
	}
	return text
}

// String names the shape by its large side.
func (s shape) String() string {
	if s.Down > 0 {
		return bytesText(s.Down) + " down"
	}
	return bytesText(s.Up) + " up"
}

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}

func bytesText(n int) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return strconv.Itoa(n>>20) + " MB"
	case n >= 1<<10 && n%(1<<10) == 0:
		return strconv.Itoa(n>>10) + " KB"
	}
	return strconv.Itoa(n) + " B"
}
