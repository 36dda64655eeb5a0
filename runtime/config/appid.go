package config

import (
	"path/filepath"
	"strings"

	"github.com/pillion-dev/pillion/tls/identity"
)

// maxAppID is the longest app ID (identity.Rule).
const maxAppID = 63

// DeriveAppID makes an app ID of a folder's name: what an ID cannot hold
// becomes a hyphen.
func DeriveAppID(folder string) string {
	var out strings.Builder
	for _, r := range filepath.Base(folder) {
		switch {
		case r == '-' || r == '_' || isAlphanumeric(r):
			out.WriteRune(r)
		case out.Len() > 0 && !strings.HasSuffix(out.String(), "-"):
			out.WriteByte('-')
		}
	}
	id := out.String()
	id = strings.Trim(id[:min(len(id), maxAppID)], "-_")
	if rest, ours := strings.CutPrefix(id, identity.ReservedPrefix); ours {
		id = rest
	}
	if identity.CheckOwnAppID(id) != nil {
		return "app"
	}
	return id
}

func isAlphanumeric(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}
