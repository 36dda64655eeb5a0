package ui

import (
	"io"
	"os"

	"golang.org/x/sys/windows"
)

// enableColors makes a Windows console understand escape codes; without it
// they would be printed as they are.
func enableColors(w io.Writer) {
	f, ok := w.(*os.File)
	if !ok {
		return
	}
	var mode uint32
	if windows.GetConsoleMode(windows.Handle(f.Fd()), &mode) == nil {
		// A console too old for it shows the codes; there is no way to ask.
		_ = windows.SetConsoleMode(windows.Handle(f.Fd()), mode|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING)
	}
}
