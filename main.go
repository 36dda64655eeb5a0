// Command pillion gives any program a place in a secure local mesh.
package main

import (
	"os"

	"github.com/pillion-dev/pillion/cmd"
)

func main() { os.Exit(cmd.Main(os.Args[1:], cmd.OS())) }
