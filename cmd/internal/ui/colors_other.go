//go:build !windows

package ui

import "io"

// enableColors is for Windows alone: terminals elsewhere know escape codes.
func enableColors(io.Writer) {}
