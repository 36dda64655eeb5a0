package state

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Properties are a component's metadata, as a driver reads it: the names' case
// does not matter, as Dapr has it. Everything wrong is kept for Err.
type Properties struct {
	values map[string]string
	errs   []string
}

// NewProperties returns the properties of a component's metadata.
func NewProperties(metadata map[string]string) *Properties {
	p := &Properties{values: make(map[string]string, len(metadata))}
	for name, value := range metadata {
		p.values[strings.ToLower(name)] = value
	}
	return p
}

// get returns the first of names that is set, and what it is called.
func (p *Properties) get(names []string) (name, value string) {
	for _, name := range names {
		if value := p.values[strings.ToLower(name)]; value != "" {
			return name, value
		}
	}
	return "", ""
}

func (p *Properties) wrong(name, value, wanted string) {
	p.errs = append(p.errs, fmt.Sprintf("%s: %q is %s", name, value, wanted))
}

// String is the value of the first name that is set, else fallback.
func (p *Properties) String(fallback string, names ...string) string {
	if _, value := p.get(names); value != "" {
		return value
	}
	return fallback
}

// Duration reads Go's durations, and a bare number as so many units.
func (p *Properties) Duration(fallback, unit time.Duration, names ...string) time.Duration {
	name, value := p.get(names)
	if value == "" {
		return fallback
	}
	if n, err := strconv.ParseInt(value, 10, 32); err == nil {
		return time.Duration(n) * unit
	}
	d, err := time.ParseDuration(value)
	if err != nil {
		p.wrong(name, value, "no duration such as 2s")
	}
	return d
}

// Bool reads Dapr's words for true: true, yes, y, on, t and 1. Anything else is
// false.
func (p *Properties) Bool(names ...string) bool {
	_, value := p.get(names)
	switch strings.ToLower(value) {
	case "true", "yes", "y", "on", "t", "1":
		return true
	}
	return false
}

// Int reads a number that is not negative.
func (p *Properties) Int(fallback int, names ...string) int {
	name, value := p.get(names)
	if value == "" {
		return fallback
	}
	n, err := strconv.ParseInt(value, 10, 32)
	if err != nil || n < 0 {
		p.wrong(name, value, "no number of 0 or more")
		return fallback
	}
	return int(n)
}

// Err is everything that was wrong so far, in one line.
func (p *Properties) Err() error {
	if len(p.errs) == 0 {
		return nil
	}
	return fmt.Errorf("%s", strings.Join(p.errs, "; "))
}

// Refuse notes something else that is wrong.
func (p *Properties) Refuse(name, value, why string) { p.wrong(name, value, why) }
