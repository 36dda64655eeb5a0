package config

import (
	"errors"
	"strings"
)

// configuration is Dapr's resource, as far as its parts exist here. What stands
// in it besides is nobody's mistake.
type configuration struct {
	Metadata struct {
		Name string `yaml:"name"`
	} `yaml:"metadata"`
	Spec struct {
		Tracing struct {
			SamplingRate yamlScalar `yaml:"samplingRate"`
			Stdout       bool       `yaml:"stdout"`
			Zipkin       struct {
				Endpoint string `yaml:"endpointAddress"`
			} `yaml:"zipkin"`
			OTel struct {
				Protocol string       `yaml:"protocol"`
				Endpoint string       `yaml:"endpointAddress"`
				Secure   *bool        `yaml:"isSecure"`
				Headers  []yamlHeader `yaml:"headers"`
				Timeout  yamlScalar   `yaml:"timeout"`
			} `yaml:"otel"`
		} `yaml:"tracing"`
		Metric  metricSpec `yaml:"metric"`
		Metrics metricSpec `yaml:"metrics"`
		Logging struct {
			API struct {
				Enabled          *bool `yaml:"enabled"`
				ObfuscateURLs    bool  `yaml:"obfuscateURLs"`
				OmitHealthChecks bool  `yaml:"omitHealthChecks"`
			} `yaml:"apiLogging"`
		} `yaml:"logging"`
		API struct {
			Allowed []apiRule `yaml:"allowed"`
			Denied  []apiRule `yaml:"denied"`
		} `yaml:"api"`
		AccessControl  accessSpec `yaml:"accessControl"`
		NameResolution struct {
			Component     string         `yaml:"component"`
			Version       yamlScalar     `yaml:"version"`
			Configuration map[string]any `yaml:"configuration"`
		} `yaml:"nameResolution"`
		HTTPPipeline    pipeline  `yaml:"httpPipeline"`
		AppHTTPPipeline pipeline  `yaml:"appHttpPipeline"`
		MTLS            *mtlsSpec `yaml:"mtls"`
		Components      struct {
			Deny []string `yaml:"deny"`
		} `yaml:"components"`
		Features []struct {
			Name    string `yaml:"name"`
			Enabled bool   `yaml:"enabled"`
		} `yaml:"features"`
		Secrets struct {
			Scopes []struct {
				Store   string   `yaml:"storeName"`
				Default string   `yaml:"defaultAccess"`
				Allowed []string `yaml:"allowedSecrets"`
				Denied  []string `yaml:"deniedSecrets"`
			} `yaml:"scopes"`
		} `yaml:"secrets"`
	} `yaml:"spec"`
}

type metricSpec struct {
	Enabled          *bool `yaml:"enabled"`
	RecordErrorCodes *bool `yaml:"recordErrorCodes"`
	HTTP             *struct {
		IncreasedCardinality *bool    `yaml:"increasedCardinality"`
		PathMatching         []string `yaml:"pathMatching"`
		ExcludeVerbs         bool     `yaml:"excludeVerbs"`
	} `yaml:"http"`
	Buckets []float64 `yaml:"latencyDistributionBuckets"`
	Rules   []struct {
		Name   string `yaml:"name"`
		Labels []struct {
			Name  string            `yaml:"name"`
			Regex map[string]string `yaml:"regex"`
		} `yaml:"labels"`
	} `yaml:"rules"`
}

type apiRule struct {
	Name     string     `yaml:"name"`
	Version  yamlScalar `yaml:"version"`
	Protocol string     `yaml:"protocol"`
}

type accessSpec struct {
	DefaultAction string `yaml:"defaultAction"`
	TrustDomain   string `yaml:"trustDomain"`
	Policies      []struct {
		AppID         string `yaml:"appId"`
		DefaultAction string `yaml:"defaultAction"`
		TrustDomain   string `yaml:"trustDomain"`
		Namespace     string `yaml:"namespace"`
		Operations    []struct {
			Name   string   `yaml:"name"`
			Verbs  []string `yaml:"httpVerb"`
			Action string   `yaml:"action"`
		} `yaml:"operations"`
	} `yaml:"policies"`
}

type pipeline struct {
	Handlers []struct {
		Name    string     `yaml:"name"`
		Type    string     `yaml:"type"`
		Version yamlScalar `yaml:"version"`
	} `yaml:"handlers"`
}

type mtlsSpec struct {
	Enabled                 bool       `yaml:"enabled"`
	WorkloadCertTTL         yamlScalar `yaml:"workloadCertTTL"`
	AllowedClockSkew        yamlScalar `yaml:"allowedClockSkew"`
	SentryAddress           string     `yaml:"sentryAddress"`
	ControlPlaneTrustDomain string     `yaml:"controlPlaneTrustDomain"`
}

// A yamlHeader is a field and its value: name=value, or a mapping of both.
type yamlHeader struct{ name, value string }

// UnmarshalYAML implements yaml.InterfaceUnmarshaler.
func (h *yamlHeader) UnmarshalYAML(read func(any) error) error {
	var line string
	if read(&line) == nil {
		name, value, found := strings.Cut(line, "=")
		if !found {
			return errors.New("a header is name=value, or has a name and a value")
		}
		h.name, h.value = strings.TrimSpace(name), strings.TrimSpace(value)
		return nil
	}
	var pair struct {
		Name  string     `yaml:"name"`
		Value yamlScalar `yaml:"value"`
	}
	err := read(&pair)
	h.name, h.value = pair.Name, string(pair.Value)
	return err
}
