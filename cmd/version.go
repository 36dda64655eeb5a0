package cmd

import (
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/pillion-dev/pillion/cmd/internal/ui"
	"github.com/pillion-dev/pillion/internal/buildinfo"
)

// shortCommit is how much of a commit people compare.
const shortCommit = 12

// versionData are the facts as JSON. A key, once out, stays; what is unknown
// is null.
type versionData struct {
	Version  string  `json:"version"`
	Commit   *string `json:"commit"`
	Modified bool    `json:"modified"` // built from a tree with changes
	Date     *string `json:"date"`     // of the commit, RFC 3339
	Go       string  `json:"go"`
	Platform string  `json:"platform"`
}

func newVersionCmd(c *ui.Console) *cobra.Command {
	output := &outputValue{c: c, known: []string{"text", "json"}}
	cmd := &cobra.Command{
		Use:         "version [flags]",
		Short:       "Show which pillion this is",
		Annotations: map[string]string{noteUnsaid: "--version says it, and 24 rows are full"},
		Example:     "pillion version\npillion version -o json",
		Args:        noArgs,
		RunE: func(*cobra.Command, []string) error {
			info := buildinfo.Read()
			if output.value == "json" {
				data, err := json.Marshal(versionData{
					Version: info.Version, Commit: known(info.Commit), Modified: info.Modified,
					Date: known(info.Date), Go: info.Go, Platform: info.Platform,
				})
				if err != nil {
					return err
				}
				c.Out.Line(string(data))
				return nil
			}
			c.Out.Line("pillion " + versionText(info))
			return nil
		},
	}
	group(cmd, "Version").value(output, "output", "o", "<format> text or json [text]")
	return cmd
}

func versionText(info buildinfo.Info) string {
	text := info.Version
	if info.Commit != "" {
		text += " (" + info.Commit[:min(len(info.Commit), shortCommit)]
		if info.Modified {
			text += ", with changes"
		}
		text += ")"
	}
	return text + " " + info.Go + " " + info.Platform
}
