package ui

import (
	"bytes"
	"io"
	"testing"
)

func BenchmarkBoard(b *testing.B) {
	for name, tty := range map[string]bool{"pipe": false, "terminal": true} {
		for kind, line := range map[string]string{
			"plain":    "INFO:     127.0.0.1:51442 - \"POST /tasks HTTP/1.1\" 201 Created\n",
			"coloured": "\x1b[32mINFO\x1b[0m:     127.0.0.1:51442 - \"\x1b[1mPOST /tasks HTTP/1.1\x1b[0m\" \x1b[32m201 Created\x1b[0m\n",
		} {
			b.Run(name+" "+kind, func(b *testing.B) {
				p := NewPrinter(io.Discard, func(string) string { return "" })
				p.TTY, p.Unicode, p.Width = tty, tty, 100
				board := NewBoard(BoardOptions{Err: p, Names: []string{"api", "worker"}})
				defer board.Close()
				feed := board.Speaker("api", true).Stream(true)
				chunk := bytes.Repeat([]byte(line), 100)
				b.ReportAllocs()
				b.SetBytes(int64(len(chunk)))
				for b.Loop() {
					_, _ = feed.Write(chunk)
				}
			})
		}
	}
}
