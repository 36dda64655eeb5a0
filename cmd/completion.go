package cmd

import (
	"github.com/spf13/cobra"

	"github.com/pillion-dev/pillion/cmd/internal/ui"
	"github.com/pillion-dev/pillion/internal/near"
)

var shells = []string{"bash", "zsh", "fish", "powershell"}

func newCompletionCmd(c *ui.Console) *cobra.Command {
	return &cobra.Command{
		Use:   "completion <bash | zsh | fish | powershell>",
		Short: "Write the completions of a shell",
		Long: "Write the completions of a shell, live app ids included. " +
			"For bash, for example, into ~/.local/share/bash-completion/completions/pillion.",
		Example: `source <(pillion completion bash)
pillion completion zsh > "${fpath[1]}/_pillion"
pillion completion fish > ~/.config/fish/completions/pillion.fish
pillion completion powershell | Out-String | Invoke-Expression`,
		ValidArgs: shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError("which shell?", "pillion completion bash, zsh, fish or powershell")
			}
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(c.Out, true)
			case "zsh":
				return root.GenZshCompletion(c.Out)
			case "fish":
				return root.GenFishCompletion(c.Out, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(c.Out)
			}
			hint := "bash, zsh, fish and powershell are known"
			if meant := near.Match(args[0], shells); meant != "" {
				hint = "did you mean " + meant + "?"
			}
			return usageError(`no completions for "`+args[0]+`"`, hint)
		},
	}
}
