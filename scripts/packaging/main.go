// Command packaging writes what goes into a release's archives beside the
// binary: shell completions and man pages, both from the command tree.
//
//	go run ./scripts/packaging <folder>
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/spf13/pflag"

	"github.com/pillion-dev/pillion/cmd"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: packaging <folder>")
		os.Exit(2)
	}
	if err := write(cmd.Tree(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "packaging:", err)
		os.Exit(1)
	}
}

func write(root *cobra.Command, folder string) error {
	completions, man := filepath.Join(folder, "completions"), filepath.Join(folder, "man")
	for _, dir := range []string{completions, man} {
		if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // packaged for everybody
			return err
		}
	}
	for name, generate := range map[string]func(string) error{
		"pillion.bash": func(path string) error { return root.GenBashCompletionFileV2(path, true) },
		"_pillion":     root.GenZshCompletionFile,
		"pillion.fish": func(path string) error { return root.GenFishCompletionFile(path, true) },
		"pillion.ps1":  root.GenPowerShellCompletionFileWithDesc,
	} {
		if err := generate(filepath.Join(completions, name)); err != nil {
			return err
		}
	}
	forMarkdown(root)
	date := time.Unix(0, 0).UTC() // the same input gives the same page
	return doc.GenManTree(root, &doc.GenManHeader{Title: "PILLION", Section: "1", Date: &date, Source: "pillion"}, man)
}

// forMarkdown readies the tree for a generator that reads Markdown: a
// placeholder in angle brackets is no tag, and a flag without a default has
// none.
func forMarkdown(c *cobra.Command) {
	escape := strings.NewReplacer("<", `\<`, ">", `\>`).Replace
	c.Use, c.Long = escape(c.Use), escape(c.Long)
	c.Flags().VisitAll(func(f *pflag.Flag) {
		f.Usage = escape(f.Usage)
		if f.DefValue == "[]" {
			f.DefValue = ""
		}
	})
	for _, sub := range c.Commands() {
		forMarkdown(sub)
	}
}
