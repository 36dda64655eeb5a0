package discovery

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"strings"
)

const (
	// labelBytes of the hash make a label: 120 bits, 24 letters.
	labelBytes = 15
	keyLength  = 32
)

// DeriveKey makes the key of labels and records from a trust domain's
// discovery key. machine is empty for what other machines may ask for; with
// the machine's id the result is of no use anywhere else, which is what keeps
// names of host scope to their host.
func DeriveKey(secret []byte, machine string) []byte {
	info := "pillion-discovery-v1"
	if machine != "" {
		info += "/host/" + machine
	}
	key, err := hkdf.Key(sha256.New, secret, nil, info, keyLength)
	if err != nil {
		panic(err) // only a length beyond 255 hashes is an error
	}
	return key
}

// Label is the name under which an app is asked for on the wire, and the
// server name of its mesh listener: an underscore and 24 lower-case letters
// and digits, which say nothing to those who lack the key.
func Label(key []byte, k Key) string {
	return hashLabel(key, "ns/"+k.Namespace+"/app/"+k.App)
}

// EveryLabel is the name under which all apps of a trust domain answer.
func EveryLabel(key []byte) string { return hashLabel(key, "every") }

func hashLabel(key []byte, name string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(name))
	return "_" + strings.ToLower(base32.StdEncoding.EncodeToString(mac.Sum(nil)[:labelBytes]))
}
