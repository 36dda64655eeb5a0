package cmd

import (
	"github.com/spf13/cobra"

	"github.com/pillion-dev/pillion/cmd/internal/ui"
)

// Tree is the command tree without streams, for what is made of it ahead of
// time: completions and man pages.
func Tree() *cobra.Command { return newRootCmd(ui.NewConsole(ui.Streams{})) }
