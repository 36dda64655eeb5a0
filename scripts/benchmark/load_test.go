package main

import (
	"testing"
	"time"
)

const wrkSaid = `Running 3s test @ http://127.0.0.1:7700/notify
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.31ms  812.00us  20.11ms   91.22%
  72345 requests in 3.00s, 9.87MB read
  Non-2xx or 3xx responses: 3
Requests/sec:  24100.11
bench requests=72345 duration=3001880 failed=3 p50=1190 p90=2011 p99=4500
`

func TestWhatWrkPrintsIsRead(t *testing.T) {
	t.Parallel()
	got, err := parseWrk([]byte(wrkSaid))
	if err != nil {
		t.Fatal(err)
	}
	want := outcome{
		calls: 72345, failed: 3, elapsed: 3001880 * time.Microsecond,
		p50: 1190 * time.Microsecond, p90: 2011 * time.Microsecond, p99: 4500 * time.Microsecond, cause: "see wrk",
	}
	if got != want {
		t.Errorf("parseWrk = %+v, want %+v", got, want)
	}
}

func TestWhatCannotBeReadIsAnError(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "unable to connect to 127.0.0.1:1 Connection refused\n",
		"bench requests=1 duration=2 failed=x p50=1 p90=1 p99=1\n",
		"bench requests=99999999999999999999 duration=2 failed=0 p50=1 p90=1 p99=1\n",
	} {
		if got, err := parseWrk([]byte(text)); err == nil {
			t.Errorf("parseWrk(%q) = %+v, want an error", text, got)
		}
	}
}

func TestScenariosAreNamedByTheirLargeSide(t *testing.T) {
	t.Parallel()
	for want, s := range map[string]scenario{
		"http 54 B up, 1 connection":                      {protoHTTP, shape{Up: 54}, 1, 1},
		"http 10 KB up, 32 connections":                   {protoHTTP, shape{Up: 10 << 10}, 32, 1},
		"grpc 1 MB down, 256 connections":                 {protoGRPC, shape{Up: 54, Down: 1 << 20}, 256, 1},
		"grpc 1500 B up, 1 connection with 32 calls each": {protoGRPC, shape{Up: 1500}, 1, 32},
	} {
		if got := s.String(); got != want {
			t.Errorf("String() = %q, want %q", got, want)
		}
	}
}
