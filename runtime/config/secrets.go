package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// The types of secret stores that exist here.
const (
	typeLocalEnv  = "secretstores.local.env"
	typeLocalFile = "secretstores.local.file"
)

// ErrNoSecret is that a store does not hold a secret.
var ErrNoSecret = errors.New("there is no such secret")

// A SecretStore holds secrets: those of a file, or the environment. It is never
// printed, and its errors hold no value.
type SecretStore struct {
	Name, Type string
	// get looks a secret up; keys are those of a file's secrets.
	get  func(name string) (map[string]string, error)
	keys []string
}

// Get returns the values of a secret by their keys. A secret of one value has
// its own name as the key. Without such a secret the error is ErrNoSecret.
func (s *SecretStore) Get(name string) (map[string]string, error) { return s.get(name) }

// Names are the names of all secrets, in order; none of the environment, whose
// variables are not all secrets.
func (s *SecretStore) Names() []string { return slices.Clone(s.keys) }

// openSecretStore makes the store of a component whose metadata is known.
func openSecretStore(c Component, getenv func(string) string) (*SecretStore, error) {
	s := &SecretStore{Name: c.Name, Type: c.Type}
	switch strings.ToLower(c.Type) {
	case typeLocalEnv:
		prefix, _ := c.Property("prefix")
		s.get = func(name string) (map[string]string, error) {
			value := ""
			if !keptBack(prefix + name) {
				value = getenv(prefix + name)
			}
			if value == "" {
				return nil, ErrNoSecret
			}
			return map[string]string{name: value}, nil
		}
	case typeLocalFile:
		all, err := readSecretsFile(c)
		if err != nil {
			return nil, err
		}
		s.keys = slices.Sorted(maps.Keys(all))
		s.get = func(name string) (map[string]string, error) {
			if values, ok := all[name]; ok {
				return maps.Clone(values), nil
			}
			return nil, ErrNoSecret
		}
	}
	return s, nil
}

// readSecretsFile reads the secrets of a secretstores.local.file. Its path is
// relative to the working folder.
func readSecretsFile(c Component) (map[string]map[string]string, error) {
	path, _ := c.Property("secretsFile")
	if path == "" {
		return nil, errors.New("secretsFile is missing: the JSON file that holds the secrets")
	}
	data, err := readBounded(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("secretsFile: there is no %s", path)
	}
	if err != nil {
		return nil, fmt.Errorf("secretsFile: %s cannot be read: %w", path, bare(err))
	}
	var tree map[string]any
	if err := json.Unmarshal(data, &tree); err != nil {
		// The library's message may quote what is in the file.
		return nil, fmt.Errorf("secretsFile: %s:%d: it is not a JSON object", path, jsonLine(data, err))
	}
	separator, _ := c.Property("nestedSeparator")
	if separator == "" {
		separator = ":"
	}
	given, _ := c.Property("multiValued")
	multi, err := ParseBool(given)
	if err != nil {
		return nil, fmt.Errorf("multiValued: %w", err)
	}
	all := map[string]map[string]string{}
	if !multi {
		for name, value := range flatten(tree, separator) {
			all[name] = map[string]string{name: value}
		}
		return all, nil
	}
	for name, value := range tree {
		if below, ok := value.(map[string]any); ok {
			all[name] = flatten(below, separator)
		} else {
			all[name] = map[string]string{name: textOf(value)}
		}
	}
	return all, nil
}

// jsonLine is the line that the file could not be read at.
func jsonLine(data []byte, err error) int {
	at := int64(len(data))
	if wrong, ok := errors.AsType[*json.SyntaxError](err); ok {
		at = wrong.Offset
	}
	return 1 + strings.Count(string(data[:min(at, int64(len(data)))]), "\n")
}

// flatten puts the names on the way to each value together.
func flatten(tree map[string]any, separator string) map[string]string {
	out := map[string]string{}
	var walk func(prefix string, v any)
	walk = func(prefix string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, below := range v {
				walk(join(prefix, separator, name), below)
			}
		case []any:
			for i, below := range v {
				walk(join(prefix, separator, strconv.Itoa(i)), below)
			}
		default:
			out[prefix] = textOf(v)
		}
	}
	walk("", tree)
	return out
}

func join(prefix, separator, name string) string {
	if prefix == "" {
		return name
	}
	return prefix + separator + name
}

// mayRefer reports whether a resource may take a variable of the environment:
// where DAPR_ENV_KEYS is a list of names, only one of those.
func mayRefer(name string, getenv func(string) string) bool {
	listed := strings.Fields(getenv("DAPR_ENV_KEYS"))
	return !keptBack(name) &&
		(len(listed) == 0 || slices.ContainsFunc(listed, func(one string) bool { return strings.EqualFold(one, name) }))
}

// keptBack reports whether a variable is not for resources: what Dapr keeps back,
// we keep back.
func keptBack(name string) bool {
	upper := strings.ToUpper(name)
	return upper == "" || upper == "APP_API_TOKEN" || strings.HasPrefix(upper, "DAPR_") ||
		strings.HasPrefix(upper, "PILLION_") || strings.ContainsAny(name, " =")
}
