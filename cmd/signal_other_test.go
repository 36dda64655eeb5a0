//go:build !unix

package cmd

import "errors"

func sendSignal(int, string) error { return errors.New("this system has no signals") }
