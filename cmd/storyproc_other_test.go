//go:build !linux

package cmd

// havingEnv: other systems do not show environments; their stories look at
// ports and lists alone.
func havingEnv(string) []int { return nil }

func commandOf(int) string { return "" }
