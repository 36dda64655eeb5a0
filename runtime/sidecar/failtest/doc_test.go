// Package failtest_test holds pillion to one promise: nothing fails that did
// not have to. Real apps under `pillion run` are killed, frozen, stopped,
// started and changed under load; what they wrote down is joined with what
// their callers heard.
package failtest_test
