package main

import (
	"flag"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// What can be asked for.
const (
	whatCompare = "compare"
	whatGrowth  = "growth"
	whatProfile = "profile"
)

const usage = `usage: scripts/bench [growth | profile] [flags]

  scripts/bench            pillion beside HAProxy and beside nothing
  scripts/bench growth     cost by connections, instances and sidecars
  scripts/bench profile    where the time goes, by pprof

`

// options are what the command line says.
type options struct {
	what        string
	quick       bool
	writeDocs   bool
	jsonFile    string
	rounds      int // 0: as many as each scenario wants
	duration    time.Duration
	connections []int
	bodies      []int
	protocols   []string
	curves      []string
	variants    bool
	pillion     string   // a binary that is there; empty: built
	runFlags    []string // for each pillion run
	instances   int      // of the callee, in a profile
	out         string   // folder of profiles
}

func parseOptions(args []string) (options, error) {
	o := options{what: whatCompare}
	if len(args) > 0 && (args[0] == whatGrowth || args[0] == whatProfile) {
		o.what, args = args[0], args[1:]
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.Usage = func() {
		_, _ = fmt.Fprint(flags.Output(), usage) // nobody to tell
		flags.PrintDefaults()
	}
	var connections, bodies, protocols, curves, runFlags string
	flags.BoolVar(&o.quick, "quick", false, "fewer scenarios, short rounds: under two minutes")
	flags.BoolVar(&o.writeDocs, "write-docs", false, "write the tables and plots into docs/performance.md")
	flags.StringVar(&o.jsonFile, "json", "", "write every round's figures to this `file`")
	flags.IntVar(&o.rounds, "rounds", 0, "`rounds` of each scenario (default 5, 9 at 256 connections; quick: 2)")
	flags.DurationVar(&o.duration, "duration", 0, "of one round (default 3s; quick: 1s)")
	flags.StringVar(&connections, "connections", "", "`list` of counts (default 1,32,256; profile: 32)")
	flags.StringVar(&bodies, "bodies", "", "`list` of bytes (default 54,10240,1048576; profile: 54)")
	flags.StringVar(&protocols, "protocols", "http,grpc", "`list` of http and grpc (profile: the first)")
	flags.StringVar(&curves, "curves", "connections,instances,sidecars,idle", "`list` of what grows")
	flags.BoolVar(&o.variants, "variants", true, "also measure the variants: API log, tracing, …")
	flags.StringVar(&o.pillion, "pillion", "", "measure this `binary` instead of building one")
	flags.StringVar(&runFlags, "run-flags", "", "`flags` for each pillion run")
	flags.IntVar(&o.instances, "instances", 1, "profile: `instances` of the callee")
	flags.StringVar(&o.out, "out", "", "`folder` to keep the profiles in (default: a new temporary one)")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("%q is not known; see --help", flags.Arg(0))
	}
	o.runFlags = strings.Fields(runFlags)
	o.protocols, o.curves = strings.Split(protocols, ","), strings.Split(curves, ",")
	for _, p := range o.protocols {
		if p != protoHTTP && p != protoGRPC {
			return o, fmt.Errorf("--protocols: %q is neither http nor grpc", p)
		}
	}
	for _, c := range o.curves {
		if c != curveConnections && c != curveInstances && c != curveSidecars && c != curveIdle {
			return o, fmt.Errorf("--curves: %q is none of connections, instances, sidecars and idle", c)
		}
	}
	var err error
	if o.connections, err = numbers("--connections", connections); err != nil {
		return o, err
	}
	if o.bodies, err = numbers("--bodies", bodies); err != nil {
		return o, err
	}
	return o, o.complete()
}

// complete fills in what was left open.
func (o *options) complete() error {
	if o.duration == 0 {
		o.duration = 3 * time.Second
		if o.quick {
			o.duration = time.Second
		}
	}
	if o.duration < 100*time.Millisecond || o.rounds < 0 {
		return fmt.Errorf("a round of %v, %d times, measures nothing", o.duration, o.rounds)
	}
	return nil
}

// numbers reads a list of positive numbers; nothing is an empty list.
func numbers(name, list string) ([]int, error) {
	var out []int
	for word := range strings.SplitSeq(list, ",") {
		if word == "" {
			continue
		}
		n, err := strconv.Atoi(word)
		if err != nil || n < 1 || n > 64<<20 {
			return nil, fmt.Errorf("%s: %q is not a positive number", name, word)
		}
		out = append(out, n)
	}
	return out, nil
}
