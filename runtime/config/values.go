package config

import (
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/pillion-dev/pillion/tls/identity"
)

// ParseDuration reads a duration as people write it and as pillion prints it:
// 250ms, 10s, 3m12s, 2h4m, 6d. A bare number has no unit and is refused, but
// for 0.
func ParseDuration(s string) (time.Duration, error) {
	text := strings.TrimSpace(s)
	days, rest, found := strings.Cut(text, "d")
	if !found {
		d, err := time.ParseDuration(text)
		if err != nil {
			return 0, notDuration(s)
		}
		return d, nil
	}
	n, err := strconv.ParseUint(days, 10, 16)
	if err != nil {
		return 0, notDuration(s)
	}
	total := time.Duration(n) * 24 * time.Hour
	if rest != "" {
		d, err := time.ParseDuration(rest)
		if err != nil || d < 0 {
			return 0, notDuration(s)
		}
		if total += d; total < 0 {
			return 0, notDuration(s)
		}
	}
	return total, nil
}

func notDuration(s string) error {
	return fmt.Errorf("%q is not a time such as 250ms, 10s or 3m12s", s)
}

// ParseSize reads a size in bytes: 1000, 64MB (thousands), 64MiB or Dapr's
// 64Mi (powers of two).
func ParseSize(s string) (int64, error) {
	text := strings.TrimSpace(s)
	at := strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' })
	if at < 0 {
		at = len(text)
	}
	n, err := strconv.ParseInt(text[:at], 10, 64)
	unit, known := sizeUnits[strings.ToLower(strings.TrimSpace(text[at:]))]
	if err != nil || !known || n > math.MaxInt64/unit {
		return 0, fmt.Errorf("%q is not a size such as 64MB or 1GiB", s)
	}
	return n * unit, nil
}

var sizeUnits = map[string]int64{
	"": 1, "b": 1,
	"k": 1e3, "kb": 1e3, "m": 1e6, "mb": 1e6, "g": 1e9, "gb": 1e9, "t": 1e12, "tb": 1e12,
	"ki": 1 << 10, "kib": 1 << 10, "mi": 1 << 20, "mib": 1 << 20,
	"gi": 1 << 30, "gib": 1 << 30, "ti": 1 << 40, "tib": 1 << 40,
}

// ParsePort reads a port. Dapr's -1, and 0, mean that none was given and
// return 0.
func ParsePort(s string) (uint16, error) {
	n, err := strconv.Atoi(strings.TrimSpace(s))
	if err != nil || n < -1 || n > math.MaxUint16 {
		return 0, fmt.Errorf("%q is not a port: 1 to 65535", s)
	}
	return uint16(max(0, n)), nil
}

// ParseBool reads true or false.
func ParseBool(s string) (bool, error) {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "true", "yes", "on", "1":
		return true, nil
	case "false", "no", "off", "0", "":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither true nor false", s)
}

// list takes values apart at commas and drops empty ones.
func list(values []string) []string {
	var out []string
	for _, v := range values {
		for one := range strings.SplitSeq(v, ",") {
			if one = strings.TrimSpace(one); one != "" {
				out = append(out, one)
			}
		}
	}
	return out
}

// checkPeer returns why s is not [app-id=]host:port.
func checkPeer(s string) error {
	address := s
	if id, rest, named := strings.Cut(s, "="); named {
		name, namespace, qualified := strings.Cut(id, ".")
		if err := identity.CheckAppID(name); err != nil {
			return fmt.Errorf("peer %q: %w", s, err)
		}
		if qualified {
			if err := identity.CheckNamespace(namespace); err != nil {
				return fmt.Errorf("peer %q: %w", s, err)
			}
		}
		address = rest
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" {
		return fmt.Errorf("peer %q is not [app-id=]host:port", s)
	}
	if n, err := ParsePort(port); err != nil || n == 0 {
		return fmt.Errorf("peer %q: %q is not a port: 1 to 65535", s, port)
	}
	return nil
}
