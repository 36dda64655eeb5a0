package config

import (
	"errors"
	"fmt"
	"strings"
)

// A reference is a value as resources give it: written, in the environment, or
// in a secret store.
type reference struct {
	Name   string     `yaml:"name"`
	Value  yamlValue  `yaml:"value"`
	EnvRef string     `yaml:"envRef"`
	Secret *secretRef `yaml:"secretKeyRef"`
}

type secretRef struct {
	Name string `yaml:"name"`
	Key  string `yaml:"key"`
}

// A lackError is why a resource cannot be used, where that is no mistake in it:
// it needs what is not there.
type lackError string

func (e lackError) Error() string { return string(e) }

// resolver finds what references stand for. Secret stores are components
// themselves, so that they are opened when the first one asks for them.
type resolver struct {
	app, namespace string
	getenv         func(string) string
	denied         []string             // types, and types with their version
	components     map[string]*resource // by name
	opened         map[string]*opened
}

// opened is a secret store, or why there is none. The zero opened is being made.
type opened struct {
	store *SecretStore
	err   error
}

var errCircle = errors.New("its secrets are, by way of other stores, in itself")

// value is what a reference of r stands for. what names the place in r, for
// messages, which hold no value. A lackError is no mistake.
func (s *resolver) value(r *resource, what string, ref reference) (string, error) {
	if ref.Secret != nil && ref.Secret.Name != "" {
		return s.secret(r, what, ref)
	}
	switch {
	case ref.Value.given || ref.EnvRef == "":
		return ref.Value.text, nil
	case !mayRefer(ref.EnvRef, s.getenv):
		return "", r.problem("%s may not be the environment's %s: tokens and Dapr's own variables stay here, and so does what DAPR_ENV_KEYS does not list",
			what, ref.EnvRef)
	}
	return s.getenv(ref.EnvRef), nil
}

func (s *resolver) secret(r *resource, what string, ref reference) (string, error) {
	name := r.head.Auth.SecretStore
	if name == "" {
		return "", lackError(what + " is in a secret store, and auth.secretStore does not say in which")
	}
	store, err := s.store(name)
	if err != nil {
		return "", lackError(what + " is in the secret store " + name + ": " + err.Error())
	}
	values, err := store.Get(ref.Secret.Name)
	key := ref.Secret.Key
	if key == "" {
		key = ref.Secret.Name
	}
	switch {
	case errors.Is(err, ErrNoSecret):
		return "", r.problem("%s: the secret store %s (%s) has no secret %q", what, name, store.Type, ref.Secret.Name)
	case err != nil:
		return "", r.problem("%s: %v", what, err)
	case values[key] == "":
		return "", r.problem("%s: the secret %q of the store %s (%s) has no key %q", what, ref.Secret.Name, name, store.Type, key)
	}
	return values[key], nil
}

// store opens a secret store, once.
func (s *resolver) store(name string) (*SecretStore, error) {
	if o, begun := s.opened[name]; begun {
		if o.store == nil && o.err == nil {
			return nil, errCircle
		}
		return o.store, o.err
	}
	o := &opened{}
	s.opened[name] = o
	o.store, o.err = s.open(name)
	return o.store, o.err
}

func (s *resolver) open(name string) (*SecretStore, error) {
	r := s.components[name]
	if r == nil {
		return nil, errors.New("there is no component of that name for this app")
	}
	c, err := s.component(r)
	switch {
	case err != nil:
		return nil, errors.New("it has a mistake of its own")
	case !strings.HasPrefix(strings.ToLower(c.Type), "secretstores."):
		return nil, fmt.Errorf("it is a %s, and no secret store", c.Type)
	case c.Unusable != "":
		return nil, errors.New(c.Unusable)
	}
	return openSecretStore(c, s.getenv)
}

// fill puts in what Dapr replaces in written metadata.
func (s *resolver) fill(text string) (string, error) {
	if !strings.Contains(text, "{") {
		return text, nil
	}
	for strings.Contains(text, "{uuid}") {
		text = strings.Replace(text, "{uuid}", newUUID(), 1)
	}
	if strings.Contains(text, "{podName}") {
		pod := s.getenv("POD_NAME")
		if pod == "" {
			return "", errors.New("{podName} is not known: POD_NAME is not set")
		}
		text = strings.ReplaceAll(text, "{podName}", pod)
	}
	return strings.NewReplacer("{namespace}", s.namespace+"."+s.app, "{appID}", s.app).Replace(text), nil
}
