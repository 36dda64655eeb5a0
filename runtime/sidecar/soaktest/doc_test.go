// Package soaktest_test loads real sidecars with everything at once (small and
// large bodies, streams, WebSockets and gRPC, clients that vanish, callees that
// are stopped and killed) and holds them to three promises: answers are never
// mixed up, nothing races, and what a load has taken is given back.
package soaktest_test
