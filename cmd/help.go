package cmd

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pillion-dev/pillion/cmd/internal/ui"
)

// beside is the least width at which a flag's text stands beside it.
const beside = 60

// underFlag is where its text begins otherwise.
const underFlag = 6

// maxLabel is the widest a flag is with its text beside it, so that 47 columns
// are left for that at 80.
const maxLabel = 31

func newHelpCmd(c *ui.Console) *cobra.Command {
	return &cobra.Command{
		Use:     "help [<command> | exit-codes]",
		Short:   "Show the help of a command, or all exit codes",
		Example: "pillion help run\npillion help exit-codes",
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			names := []string{"exit-codes\tall exit statuses"}
			for _, sub := range cmd.Root().Commands() {
				if sub.IsAvailableCommand() {
					names = append(names, sub.Name()+"\t"+sub.Short)
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch {
			case len(args) == 0:
				printHelp(c, root)
			case len(args) == 1 && args[0] == "exit-codes":
				printExitCodes(c)
			default:
				found, rest, err := root.Find(args)
				if err != nil || found == root || len(rest) > 0 {
					return unknownCommand(root, args[0])
				}
				printHelp(c, found)
			}
			return nil
		},
	}
}

// printHelp writes a command's help on Out: help that was asked for is an
// answer.
func printHelp(c *ui.Console, cmd *cobra.Command) {
	h := &helpText{p: c.Out}
	if cmd.HasParent() {
		h.command(cmd)
	} else {
		h.root(cmd)
	}
	c.Out.Print(h.out.String())
}

type helpText struct {
	p   *ui.Printer
	out strings.Builder
}

func (h *helpText) line(s string) { h.out.WriteString(strings.TrimRight(s, " ") + "\n") }

func (h *helpText) heading(s string) {
	h.line("")
	h.line(h.p.Paint(ui.ToneStrong, s))
}

func (h *helpText) prose(s string) {
	for _, row := range h.p.Fold(s, h.p.Prose()) {
		h.line(row)
	}
}

func (h *helpText) root(root *cobra.Command) {
	h.prose(root.Short)
	h.heading("Start here")
	h.examples(root)
	width := 0
	for _, sub := range root.Commands() {
		width = max(width, len(sub.Name()))
	}
	for _, g := range root.Groups() {
		h.heading(g.Title)
		for _, sub := range inOrder(root) {
			if sub.GroupID == g.ID && !sub.Hidden && sub.Annotations[noteUnsaid] == "" {
				h.pair("  "+ui.Pad(sub.Name(), width+3), sub.Short)
			}
		}
	}
}

// inOrder are the commands as the root adds them; cobra sorts them by name.
func inOrder(root *cobra.Command) []*cobra.Command {
	all := slices.Clone(root.Commands())
	slices.SortStableFunc(all, func(a, b *cobra.Command) int {
		return strings.Compare(a.Annotations[noteOrder], b.Annotations[noteOrder])
	})
	return all
}

func (h *helpText) examples(cmd *cobra.Command) {
	for row := range strings.Lines(cmd.Example) {
		row = "  $ " + strings.TrimSpace(row)
		if ui.Cells(row) <= h.p.Width || !h.p.TTY {
			h.line(h.p.Text(row)) // as it is: comments stand in a column
			continue
		}
		h.pair("  $ ", strings.TrimPrefix(row, "  $ "))
	}
}

// leastText is the room a text needs to be folded under itself: with less, the
// rows that follow begin further left.
const leastText = 20

// pair is a label and its text, folded under itself.
func (h *helpText) pair(label, text string) {
	indent := ui.Cells(label)
	if h.p.Width-indent < leastText {
		indent = min(indent, 4)
	}
	for i, row := range h.p.FoldFrom(text, h.p.Prose(), ui.Cells(label), indent) {
		if i == 0 {
			h.line(label + row)
		} else {
			h.line(strings.Repeat(" ", indent) + row)
		}
	}
}

func (h *helpText) command(cmd *cobra.Command) {
	long := cmd.Long
	if long == "" {
		long = cmd.Short + "."
	}
	h.prose(long)
	h.line("")
	_, args, _ := strings.Cut(cmd.Use, " ")
	h.pair("  ", strings.TrimSpace(cmd.CommandPath()+" "+args))
	if len(cmd.Aliases) > 0 {
		h.line("")
		h.line("Also: " + cmd.Root().Name() + " " + strings.Join(cmd.Aliases, ", "))
	}
	if cmd.Example != "" {
		h.heading("Examples")
		h.examples(cmd)
	}
	h.flags(cmd)
	if exits := cmd.Annotations[noteExits]; exits != "" {
		h.heading("Exit status")
		h.exits(exits)
	}
}

// exits are rows of status and meaning, separated by a tab.
func (h *helpText) exits(rows string) {
	width := 0
	for row := range strings.Lines(rows) {
		status, _, _ := strings.Cut(row, "\t")
		width = max(width, ui.Cells(status))
	}
	for row := range strings.Lines(rows) {
		status, text, _ := strings.Cut(strings.TrimSpace(row), "\t")
		h.pair("  "+ui.Pad(status, width+2), text)
	}
}

// A flagSection is the flags under one heading of the help.
type flagSection struct {
	title string
	flags []*pflag.Flag
}

// sections are a command's own flags by group, in the order in which it adds
// them; --help and --color are not among them.
func sections(cmd *cobra.Command) []flagSection {
	var out []flagSection
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		g := f.Annotations[noteGroup]
		if f.Hidden || len(g) == 0 {
			return
		}
		at := slices.IndexFunc(out, func(s flagSection) bool { return s.title == g[0] })
		if at < 0 {
			at = len(out)
			out = append(out, flagSection{title: g[0]})
		}
		out[at].flags = append(out[at].flags, f)
	})
	return out
}

// flags lists the flags by group, then those every command has, then those
// without an effect.
func (h *helpText) flags(cmd *cobra.Command) {
	all := append(sections(cmd), flagSection{"Everywhere", []*pflag.Flag{
		cmd.Root().PersistentFlags().Lookup("color"), cmd.Flags().Lookup("help"),
	}})
	width := labelWidth(all)
	for _, s := range all {
		if s.title == groupNone {
			continue
		}
		h.heading(s.title)
		for _, f := range s.flags {
			h.flag(f, width)
		}
	}
	of := "dapr run"
	if cmd.Name() == sidecarCommand {
		of = "daprd"
	}
	h.noEffect(of, all)
}

// labelWidth is the width of the flags in front of their texts.
func labelWidth(all []flagSection) int {
	width := 0
	for _, s := range all {
		for _, f := range s.flags {
			if s.title != groupNone && f != nil {
				width = max(width, ui.Cells(flagLabel(f)))
			}
		}
	}
	return min(maxLabel, width)
}

// noEffect names the flags without an effect, once and together.
func (h *helpText) noEffect(of string, all []flagSection) {
	for _, s := range all {
		if s.title != groupNone {
			continue
		}
		names := make([]string, len(s.flags))
		for i, f := range s.flags {
			names[i] = "--" + f.Name
		}
		h.heading("Taken from " + of + ", no effect here")
		for _, row := range h.p.Fold(strings.Join(names, " "), h.p.Prose()-2) {
			h.line("  " + h.p.Paint(ui.ToneMuted, row))
		}
	}
}

func (h *helpText) flag(f *pflag.Flag, width int) {
	if f == nil {
		return
	}
	label := flagLabel(f)
	switch {
	case h.p.Width < beside:
		h.line(label)
		for _, row := range h.p.FoldFrom(f.Usage, h.p.Prose(), underFlag, underFlag) {
			h.line(strings.Repeat(" ", underFlag) + row)
		}
	case ui.Cells(label) > width:
		h.line(label)
		h.pair(strings.Repeat(" ", width+2), f.Usage)
	default:
		h.pair(ui.Pad(label, width+2), f.Usage)
	}
}

// flagLabel is the flag as it is typed, with the kind of its value.
func flagLabel(f *pflag.Flag) string {
	label := "      --" + f.Name
	if f.Shorthand != "" {
		label = "  -" + f.Shorthand + ", --" + f.Name
	}
	switch kind := placeholder(f); {
	case kind == "":
	case f.NoOptDefVal != "":
		label += "[=<" + kind + ">]"
	default:
		label += " <" + kind + ">"
	}
	return label
}
