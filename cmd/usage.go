package cmd

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/near"
)

// usageError is a mistake on the command line: what is wrong and what to do,
// never the whole help.
func usageError(what, hint string, run ...string) error {
	return &apperr.Error{Reason: apperr.Usage, What: what, Hint: hint, Run: run}
}

func notOneOf(s string, known []string) error {
	return fmt.Errorf("%q is not one of %s", s, strings.Join(known, ", "))
}

// flagError says what is wrong with a flag, in our words.
func flagError(cmd *cobra.Command, err error) error {
	if errors.Is(err, pflag.ErrHelp) {
		return err
	}
	if words := cmd.Flags().Args(); !cmd.HasParent() && len(words) > 0 {
		return unknownCommand(cmd, words[0]) // the flags were meant for that
	}
	var unknown *pflag.NotExistError
	var valueless *pflag.ValueRequiredError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown):
		return unknownFlag(cmd, unknown)
	case errors.As(err, &valueless):
		f := valueless.GetFlag()
		return usageError("--"+f.Name+" needs a value", "--"+f.Name+" <"+placeholder(f)+">")
	case errors.As(err, &invalid):
		return usageError(fmt.Sprintf("--%s: %v", invalid.GetFlag().Name, invalid.Unwrap()), "")
	}
	return usageError(err.Error(), helpHint(cmd), helpRun(cmd)...)
}

func unknownFlag(cmd *cobra.Command, err *pflag.NotExistError) error {
	name := err.GetSpecifiedName()
	if shorts := err.GetSpecifiedShortnames(); shorts != "" {
		return usageError("no flag -"+name, helpHint(cmd), helpRun(cmd)...)
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	if meant := near.Match(name, names); meant != "" {
		return usageError("no flag --"+name, "did you mean --"+meant+"?")
	}
	return usageError("no flag --"+name, helpHint(cmd), helpRun(cmd)...)
}

func helpRun(cmd *cobra.Command) []string { return append(strings.Fields(cmd.CommandPath()), "--help") }

func helpHint(cmd *cobra.Command) string {
	return strings.Join(helpRun(cmd), " ") + " lists the flags"
}

// noArgs refuses arguments.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError(fmt.Sprintf("%s takes no arguments: %q", cmd.CommandPath(), args[0]), "")
	}
	return nil
}

// noEffectText says that flags were taken for nothing.
func noEffectText(names []string) string {
	slices.Sort(names)
	verb := " has"
	if len(names) > 1 {
		verb = " have"
	}
	return strings.Join(names, ", ") + verb + " no effect here"
}
