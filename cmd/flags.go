package cmd

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pillion-dev/pillion/runtime/config"
)

// groupNone is the group of flags that are taken and have no effect.
const groupNone = "none"

// flagGroup adds flags under one heading of the help.
type flagGroup struct {
	set  *pflag.FlagSet
	name string
}

func group(c *cobra.Command, name string) flagGroup {
	c.Flags().SortFlags = false
	return flagGroup{c.Flags(), name}
}

func (g flagGroup) mark(name string) {
	// The flag was added the line before.
	_ = g.set.SetAnnotation(name, noteGroup, []string{g.name})
}

func (g flagGroup) text(to *string, name, short, usage string) {
	g.set.StringVarP(to, name, short, *to, usage)
	g.mark(name)
}

func (g flagGroup) texts(to *[]string, name, short, usage string) {
	g.set.StringArrayVarP(to, name, short, *to, usage)
	g.mark(name)
}

func (g flagGroup) on(to *bool, name, short, usage string) {
	g.set.BoolVarP(to, name, short, *to, usage)
	g.mark(name)
}

func (g flagGroup) value(v pflag.Value, name, short, usage string) {
	g.set.VarP(v, name, short, usage)
	g.mark(name)
}

// setting adds a flag whose value config.Resolve reads.
func (g flagGroup) setting(name, short, usage string) {
	g.texts(new([]string), name, short, usage)
}

// toggle adds a flag whose value config.Resolve reads and that may stand
// alone.
func (g flagGroup) toggle(name, usage string) {
	g.on(new(bool), name, "", usage)
}

// given are the flags somebody gave.
func given(c *cobra.Command) config.Given {
	out := config.Given{}
	c.Flags().Visit(func(f *pflag.Flag) {
		if list, ok := f.Value.(pflag.SliceValue); ok {
			out[f.Name] = list.GetSlice()
			return
		}
		out[f.Name] = []string{f.Value.String()}
	})
	return out
}

// durationValue is a flag that takes what pillion prints: 3m12s, 6d.
type durationValue struct{ text string }

func (v *durationValue) String() string { return v.text }
func (v *durationValue) Type() string   { return "time" }
func (v *durationValue) Set(s string) error {
	if _, err := config.ParseDuration(s); err != nil {
		return err
	}
	v.text = s
	return nil
}

// hintedFlag is the flag's name as a person types it.
func hintedFlag(name string) string { return "--" + strings.TrimLeft(name, "-") }
