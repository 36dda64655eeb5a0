//go:build linux

package guard

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"reflect"
	"syscall"
	"testing"
)

func orders() []Order {
	return []Order{
		{},
		{Path: "/bin/sh", Args: []string{"sh", "-c", "", "a\x00b"}, Env: []string{"A=1", ""}, Dir: "/tmp", TTY: true},
		{Path: "x", Saved: &syscall.Termios{Lflag: 7}, Raw: &syscall.Termios{Cc: [32]uint8{3}}},
	}
}

func body(t testing.TB, o Order) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := o.Send(&b); err != nil {
		t.Fatal(err)
	}
	if got, want := binary.LittleEndian.Uint32(b.Bytes()), uint32(b.Len()-4); got != want {
		t.Errorf("the order says %d bytes follow, %d do", got, want)
	}
	return b.Bytes()[4:]
}

func TestAnOrderArrivesAsItWasSent(t *testing.T) {
	t.Parallel()
	for _, want := range orders() {
		got, err := parseOrder(body(t, want))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("sent %+v, got %+v, %v", want, got, err)
		}
	}
}

func TestAnOrderThatBreaksOffIsNone(t *testing.T) {
	t.Parallel()
	for _, o := range orders() {
		whole := body(t, o)
		for n := range whole {
			if got, err := parseOrder(whole[:n]); !errors.Is(err, errOrder) {
				t.Errorf("%d of %d bytes are read as %+v, %v", n, len(whole), got, err)
			}
		}
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	_, _ = w.Write([]byte{9, 0, 0, 0, 1})
	_ = w.Close()
	if _, err := readOrder(int(r.Fd())); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("an order whose sender died is read with %v", err)
	}
}

func TestAnOrderThatIsTooLongIsNotSent(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	err := Order{Env: []string{string(make([]byte, maxOrder))}}.Send(&b)
	if !errors.Is(err, syscall.E2BIG) || b.Len() != 0 {
		t.Errorf("Send = %v with %d bytes written, want E2BIG and none", err, b.Len())
	}
}

func FuzzOrder(f *testing.F) {
	for _, o := range orders() {
		f.Add(body(f, o))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := parseOrder(b)
		if err != nil {
			t.Skip()
		}
		again, err := parseOrder(body(t, o))
		if err != nil || !reflect.DeepEqual(again, o) {
			t.Errorf("%+v is sent and read as %+v, %v", o, again, err)
		}
	})
}
