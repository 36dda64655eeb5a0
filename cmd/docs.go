package cmd

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/pillion-dev/pillion/cmd/internal/ui"
	"github.com/pillion-dev/pillion/docs"
)

func newDocsCmd(c *ui.Console) *cobra.Command {
	var skill bool
	cmd := &cobra.Command{
		Use:   "docs --skill",
		Short: "Print the page that teaches pillion",
		Long: "Print the page that teaches pillion, in Markdown: for an assistant that writes code, or for who starts with it. " +
			"It belongs to this version.",
		Example: "pillion docs --skill > SKILL.md",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			if !skill {
				return usageError("which page is not said", "pillion docs --skill", "pillion", "docs", "--skill")
			}
			_, err := io.WriteString(c.Out, docs.Skill)
			return err
		},
	}
	group(cmd, "Docs").on(&skill, "skill", "", "what one needs to use pillion, on one page")
	return cmd
}
