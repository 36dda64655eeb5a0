package state

import (
	"fmt"
	"strings"
)

// separator stands between a key and its prefix, in every store.
const separator = "||"

// The strategies of keyPrefix; anything else is a prefix itself.
const (
	prefixApp       = "appid"
	prefixNamespace = "namespace"
	prefixName      = "name"
	prefixNone      = "none"
)

// keyPrefix is what stands before the keys of a component, its separator
// included. As Dapr does, a prefix that is given literally is taken in lower
// case.
func keyPrefix(c Component, cfg Config) (string, error) {
	strategy := strings.ToLower(c.KeyPrefix)
	if err := CheckPrefix(strategy); err != nil {
		return "", err
	}
	prefix := strategy
	switch strategy {
	case prefixNone:
		return "", nil
	case prefixName:
		prefix = c.Name
	case prefixApp, "":
		prefix = cfg.App
	case prefixNamespace:
		prefix = namespaced(cfg)
	}
	if prefix == "" {
		return "", nil
	}
	return prefix + separator, nil
}

// namespaced is Dapr's namespace.appid, or only the app without a namespace.
func namespaced(cfg Config) string {
	if cfg.App == "" || cfg.Namespace == "" {
		return cfg.App
	}
	return cfg.Namespace + "." + cfg.App
}

// CheckPrefix says whether a component's keyPrefix can be one.
func CheckPrefix(given string) error {
	if err := legal(strings.ToLower(given)); err != nil {
		return fmt.Errorf("keyPrefix: %w", err)
	}
	return nil
}

func legal(key string) error {
	if strings.Contains(key, separator) {
		return fmt.Errorf("input key/keyPrefix '%s' can't contain '%s'", key, separator)
	}
	return nil
}

// stored is the key as the store knows it.
func (m *mounted) stored(key string) (string, error) {
	if err := legal(key); err != nil {
		return "", illegalKey(m.Name, key, err)
	}
	return m.prefix + key, nil
}
