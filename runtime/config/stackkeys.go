package config

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/pillion-dev/pillion/internal/near"
)

// A stackKey is one key of a run file.
type stackKey struct {
	name string
	// flag is the flag of the same meaning; empty for what only a file can say.
	flag string
	// own means that it is said of one app and not of all.
	own bool
	// form is what its value looks like.
	form keyForm
}

// A keyForm is what the value of a key looks like.
type keyForm uint8

const (
	formScalar  keyForm = iota
	formList            // of scalars
	formMap             // of scalars
	formPath            // a scalar
	formPaths           // a list of paths
	formWords           // a scalar, or a list of them
	formNothing         // Kubernetes' alone
)

// stackKeys are the keys of an app and, but for an app's own, of common
// (dapr-facts §11.4).
var stackKeys = []stackKey{
	{name: keyAppDir, own: true, form: formPath},
	{name: "appID", flag: "app-id", own: true},
	{name: "appPort", flag: "app-port", own: true},
	{name: "appChannelAddress", flag: "app-channel-address", own: true},
	{name: "daprHTTPPort", flag: "dapr-http-port", own: true},
	{name: "daprGRPCPort", flag: "dapr-grpc-port", own: true},
	{name: "daprInternalGRPCPort", flag: "dapr-internal-grpc-port", own: true},
	{name: "metricsPort", flag: "metrics-port", own: true},
	{name: "profilePort", flag: "profile-port", own: true},
	{name: "unixDomainSocket", flag: "unix-domain-socket", own: true},
	{name: keyCommand, own: true, form: formList},
	{name: "containerImage", own: true, form: formNothing},
	{name: "containerImagePullPolicy", own: true, form: formNothing},
	{name: "createService", own: true, form: formNothing},
	{name: keyWatch, flag: "watch", form: formWords},
	{name: keyBuild, flag: "build"},
	{name: keyRestart, flag: "restart"},
	{name: keyEnv, form: formMap},
	{name: "appProtocol", flag: "app-protocol"},
	{name: "appMaxConcurrency", flag: "app-max-concurrency"},
	{name: "appSSL", flag: "app-ssl"},
	{name: keyConfig, flag: "config", form: formPath},
	{name: keyResource, flag: "resources-path", form: formPath},
	{name: keyResources, flag: "resources-path", form: formPaths},
	{name: "apiListenAddresses", flag: "dapr-listen-addresses"},
	{name: "enableProfiling", flag: "enable-profiling"},
	{name: "logLevel", flag: "log-level"},
	{name: "placementHostAddress", flag: "placement-host-address"},
	{name: "schedulerHostAddress", flag: "scheduler-host-address"},
	{name: "maxBodySize", flag: "max-body-size"},
	{name: "readBufferSize", flag: "read-buffer-size"},
	{name: "enableApiLogging", flag: "enable-api-logging"},
	{name: "runtimePath", flag: "runtime-path"},
	{name: "enableAppHealthCheck", flag: "enable-app-health-check"},
	{name: "appHealthCheckPath", flag: "app-health-check-path"},
	{name: "appHealthProbeInterval", flag: "app-health-probe-interval"},
	{name: "appHealthProbeTimeout", flag: "app-health-probe-timeout"},
	{name: "appHealthThreshold", flag: "app-health-threshold"},
	{name: keySidecarLog},
	{name: keyAppLog},
}

// Keys that are read by name.
const (
	keyAppDir     = "appDirPath"
	keyCommand    = "command"
	keyWatch      = "watch"
	keyBuild      = "build"
	keyRestart    = "restart"
	keyEnv        = "env"
	keyConfig     = "configFilePath"
	keyResource   = "resourcesPath"
	keyResources  = "resourcesPaths"
	keySidecarLog = "daprdLogDestination"
	keyAppLog     = "appLogDestination"

	keyVersion = "version"
	keyName    = "name"
	keyCommon  = "common"
	keyApps    = "apps"
)

// rootKeys are those of the file itself.
var rootKeys = []string{keyVersion, keyName, keyCommon, keyApps}

// lookUpKey finds a key of an app or, with common, of all apps.
func lookUpKey(name string, common bool) (stackKey, bool) {
	for _, k := range stackKeys {
		if k.name == name && (!common || !k.own) {
			return k, true
		}
	}
	return stackKey{}, false
}

// keyHint says what may have been meant by a key nobody knows there.
func keyHint(name string, among []string, common bool) string {
	if common {
		if _, own := lookUpKey(name, false); own {
			return name + " is said of each app, below apps"
		}
	}
	for _, k := range among {
		if strings.EqualFold(k, name) {
			return "did you mean " + k + "?"
		}
	}
	if meant := near.Match(name, among); meant != "" {
		return "did you mean " + meant + "?"
	}
	return ""
}

func keyNames(common bool) []string {
	var out []string
	for _, k := range stackKeys {
		if !common || !k.own {
			out = append(out, k.name)
		}
	}
	return out
}

// settingOf is the setting of a flag.
func settingOf(flag string) (setting, bool) {
	i := slices.IndexFunc(settings, func(s setting) bool { return s.flag == flag && flag != "" })
	if i < 0 {
		return setting{}, false
	}
	return settings[i], true
}

// hasEffect reports whether this version does anything about the key.
func (k stackKey) hasEffect() bool {
	_, known := settingOf(k.flag)
	return known || k.flag == "" && k.form != formNothing
}

// check judges one value by itself.
func (k stackKey) check(values []string) error {
	switch k.name {
	case keySidecarLog, keyAppLog:
		if d := LogDestination(last(values)); d != LogToFile && d != LogToConsole && d != LogToBoth {
			return fmt.Errorf("%q is not %s, %s or %s", d, LogToFile, LogToConsole, LogToBoth)
		}
	case keyCommand:
		if len(values) > 0 && values[0] == "" {
			return errors.New("its first word is empty")
		}
	}
	if s, known := settingOf(k.flag); known {
		return s.set(&Sidecar{}, values)
	}
	return nil
}

// flagNames finds flags in a text.
var flagNames = regexp.MustCompile(`--[a-z]+(?:-[a-z]+)*`)

// InRunFile says a text that speaks of flags in the words of a run file.
func InRunFile(text string) string {
	return flagNames.ReplaceAllStringFunc(text, func(flag string) string {
		for _, k := range stackKeys {
			if k.flag != "" && "--"+k.flag == flag {
				return k.name
			}
		}
		return flag
	})
}
