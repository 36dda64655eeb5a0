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

// notePlaceholder is the annotation that says the kind of a flag's value.
const notePlaceholder = "placeholder"

// describe gives a flag its heading and text. A usage begins with the kind of
// the value, as <port>, unless the flag takes none.
func (g flagGroup) describe(name, usage string) {
	f := g.set.Lookup(name) // was added the line before
	f.Annotations = map[string][]string{noteGroup: {g.name}}
	f.Usage = usage
	if kind, text, found := strings.Cut(usage, "> "); found && strings.HasPrefix(kind, "<") {
		f.Annotations[notePlaceholder] = []string{kind[1:]}
		f.Usage = text
	} else if kind, text := pflag.UnquoteUsage(f); strings.Contains(usage, "`") {
		// pflag's own way: the kind is a quoted word of the text.
		f.Annotations[notePlaceholder] = []string{kind}
		f.Usage = text
	}
}

// placeholder is the kind of a flag's value; "" if it takes none.
func placeholder(f *pflag.Flag) string {
	if kind := f.Annotations[notePlaceholder]; len(kind) > 0 {
		return kind[0]
	}
	if f.NoOptDefVal != "" {
		return ""
	}
	return f.Value.Type()
}

func (g flagGroup) text(to *string, name, short, usage string) {
	g.set.StringVarP(to, name, short, *to, "")
	g.describe(name, usage)
}

func (g flagGroup) texts(to *[]string, name, short, usage string) {
	g.set.StringArrayVarP(to, name, short, *to, "")
	g.describe(name, usage)
}

func (g flagGroup) on(to *bool, name, short, usage string) {
	g.set.BoolVarP(to, name, short, *to, "")
	g.describe(name, usage)
}

func (g flagGroup) value(v pflag.Value, name, short, usage string) {
	g.set.VarP(v, name, short, "")
	g.describe(name, usage)
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
