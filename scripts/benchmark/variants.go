package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pillion-dev/pillion/scripts/internal/smallapp"
)

// A variant is a way to run pillion that costs something beside the default. To
// add one: a row in variants. One whose feature this version does not have is
// left out, and named in the notes.
type variant struct {
	name string
	// flags and files are of both sidecars. FOLDER in a flag is where the
	// files are, PORT a port of its own, SINK in a file the URL of a server
	// that takes everything.
	flags  []string
	files  map[string]string
	noPort bool
	// works says if the feature is there, by what it does.
	works func(ctx context.Context, p *pair) error
}

// variants are all there are.
var variants = []variant{
	{name: "API log", flags: []string{"--enable-api-logging"}, works: logsCalls},
	{
		name: "tracing, all calls", flags: []string{"--config", "FOLDER/config.yaml"},
		files: map[string]string{"config.yaml": configuration(`tracing: {samplingRate: "1", zipkin: {endpointAddress: "SINK/api/v2/spans"}}`)},
		works: traces,
	},
	{
		name: "tracing, 1 call in 100", flags: []string{"--config", "FOLDER/config.yaml"},
		files: map[string]string{"config.yaml": configuration(`tracing: {samplingRate: "0.01", zipkin: {endpointAddress: "SINK/api/v2/spans"}}`)},
		works: traces,
	},
	{
		name: "metrics", flags: []string{"--config", "FOLDER/config.yaml", "--metrics-port", "PORT"},
		files: map[string]string{"config.yaml": configuration(`metrics: {enabled: true}`)},
		works: measures,
	},
	{
		name: "a policy", flags: []string{"--resources-path", "FOLDER"},
		files: map[string]string{"resiliency.yaml": resiliency}, works: timesOut,
	},
	{
		name: "an access rule", flags: []string{"--config", "FOLDER/config.yaml"},
		files: map[string]string{"config.yaml": configuration(accessRule)}, works: refuses,
	},
	{name: "a caller that listens nowhere", noPort: true, works: func(context.Context, *pair) error { return nil }},
}

func configuration(spec string) string {
	return "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {name: bench}\nspec:\n  " + spec + "\n"
}

const resiliency = `apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: {name: bench}
spec:
  policies:
    timeouts: {short: 300ms}
    retries: {few: {policy: constant, duration: 10ms, maxRetries: 2}}
    circuitBreakers: {breaker: {maxRequests: 1, timeout: 5s, trip: "consecutiveFailures > 100"}}
  targets:
    apps:
      bench-callee: {timeout: short, retry: few, circuitBreaker: breaker}
`

const accessRule = `accessControl: {defaultAction: deny, trustDomain: public, policies: [{appId: bench-caller, defaultAction: deny, trustDomain: public, namespace: default, operations: [{name: /notify, httpVerb: ["POST"], action: allow}]}]}`

// compareVariants measures pillion in its default and in each variant, beside
// HAProxy.
func (b *bench) compareVariants(ctx context.Context, c *comparison) error {
	before := len(b.processes)
	defer func() { b.stopFrom(before) }()
	subjects, err := b.startSubjects(ctx, protoHTTP)
	if err != nil {
		return err
	}
	subjects = subjects[1:]
	for _, v := range variants {
		p, missing, err := b.startVariant(ctx, v)
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", v.name, err)
		case missing != nil:
			c.Notes = append(c.Notes, fmt.Sprintf("%s: not in this version (%v)", v.name, missing))
			say("left out: %s: %v", v.name, missing)
		default:
			subjects = append(subjects, &p.subject)
		}
	}
	rounds := 5
	if b.o.quick {
		rounds = 2
	}
	if b.o.rounds > 0 {
		rounds = b.o.rounds
	}
	s := scenario{protoHTTP, shape{Up: 54}, 32, 1}
	say("variants: %s, %d rounds", s, rounds)
	c.Variants, err = b.measure(ctx, s, subjects, rounds)
	return err
}

// startVariant starts a pair with the variant's settings. missing says why the
// feature is not there.
func (b *bench) startVariant(ctx context.Context, v variant) (p *pair, missing, err error) {
	before := len(b.processes)
	folder := filepath.Join(b.work, "variant-"+strings.Map(wordly, v.name))
	if err := os.MkdirAll(folder, 0o700); err != nil { //nolint:gosec // in our own folder
		return nil, nil, err
	}
	sink, err := b.sink(ctx)
	if err != nil {
		return nil, nil, err
	}
	fill := strings.NewReplacer("FOLDER", folder, "SINK", sink)
	for name, text := range v.files {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(fill.Replace(text)), 0o600); err != nil { //nolint:gosec // as above
			return nil, nil, err
		}
	}
	spec := pairSpec{name: v.name, proto: protoHTTP, noPort: v.noPort}
	for _, f := range v.flags {
		spec.flags = append(spec.flags, fill.Replace(f))
	}
	p, err = b.startPair(ctx, spec)
	if err != nil {
		return nil, nil, err
	}
	if missing = v.works(ctx, p); missing != nil {
		b.stopFrom(before)
	}
	return p, missing, context.Cause(ctx)
}

// sink starts a server that takes everything, for what a variant sends out.
func (b *bench) sink(ctx context.Context) (string, error) {
	_, port, err := b.startApp(ctx)
	return "http://" + loopback + ":" + port, err
}

func wordly(r rune) rune {
	if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
		return r
	}
	return '-'
}

// soon asks again for two seconds.
func soon(ctx context.Context, ask func() error) error {
	for n := 0; ; n++ {
		err := ask()
		if err == nil || n == 20 {
			return err
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

func logsCalls(ctx context.Context, p *pair) error {
	return soon(ctx, func() error {
		if strings.Contains(p.caller.said.String(), "/notify") {
			return nil
		}
		return errors.New("a call leaves no line")
	})
}

func traces(ctx context.Context, p *pair) error {
	_, fields, err := post(ctx, p.base+smallapp.Seen)
	if err == nil && !strings.Contains(string(fields), "Traceparent:") {
		err = errors.New("a call reaches the app without a trace")
	}
	return err
}

func measures(ctx context.Context, p *pair) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+loopback+":"+p.callerPort+"/metrics", nil) //nolint:gosec // loopback
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(r) //nolint:gosec // as above
	if err != nil {
		return errors.New("nothing answers at /metrics")
	}
	defer answer.Body.Close() //nolint:errcheck // it was not read
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("/metrics answers %s", answer.Status)
	}
	return nil
}

// timesOut calls what takes longer than the policy allows.
func timesOut(ctx context.Context, p *pair) error {
	status, _, err := post(ctx, p.base+smallapp.Slow+"2000")
	if err == nil && status == http.StatusOK {
		err = errors.New("a call may take longer than its time-out")
	}
	return err
}

// refuses calls what the rule does not allow.
func refuses(ctx context.Context, p *pair) error {
	status, _, err := post(ctx, p.base+smallapp.Seen)
	if err == nil && status != http.StatusForbidden {
		err = fmt.Errorf("a call that is denied is answered %d", status)
	}
	return err
}
