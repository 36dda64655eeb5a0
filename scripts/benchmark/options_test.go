package main

import (
	"slices"
	"testing"
	"time"
)

func TestOptionsAreRead(t *testing.T) {
	t.Parallel()
	o, err := parseOptions([]string{"growth", "--quick", "--connections", "1,32", "--run-flags", "--engine standard", "--protocols", "grpc"})
	if err != nil {
		t.Fatal(err)
	}
	if o.what != whatGrowth || !o.quick || o.duration != time.Second || !slices.Equal(o.connections, []int{1, 32}) ||
		!slices.Equal(o.runFlags, []string{"--engine", "standard"}) || !slices.Equal(o.protocols, []string{"grpc"}) {
		t.Errorf("parseOptions = %+v", o)
	}
	for _, args := range [][]string{
		{"--connections", "0"}, {"--bodies", "x"}, {"--protocols", "http,ftp"}, {"shrink"}, {"growth", "--curves", "up"}, {"--rounds", "-1"}, {"--duration", "1ms"},
	} {
		if o, err := parseOptions(args); err == nil {
			t.Errorf("parseOptions(%q) = %+v, want an error", args, o)
		}
	}
}

func TestThePlanHasWhatWasAskedFor(t *testing.T) {
	t.Parallel()
	whole := (&bench{}).plan(protoHTTP)
	for _, want := range []planned{
		{scenario{protoHTTP, shape{Up: 54}, 1, 1}, 5},
		{scenario{protoHTTP, shape{Up: 54}, 256, 1}, 9},
		{scenario{protoHTTP, shape{Up: 10 << 10}, 32, 1}, 5},
		{scenario{protoHTTP, shape{Up: 54, Down: 1 << 20}, 256, 1}, 9},
	} {
		if !slices.Contains(whole, want) {
			t.Errorf("the plan lacks %+v", want)
		}
	}
	if len(whole) != 15 {
		t.Errorf("the plan has %d scenarios, want 15", len(whole))
	}
	chosen := (&bench{o: options{connections: []int{7}, bodies: []int{54}, rounds: 2, quick: true}}).plan(protoGRPC)
	if want := (planned{scenario{protoGRPC, shape{Up: 54}, 7, 1}, 2}); len(chosen) != 1 || chosen[0] != want {
		t.Errorf("the plan is %+v, want only %+v", chosen, want)
	}
}
