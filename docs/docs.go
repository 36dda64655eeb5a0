// Package docs is the documentation that the binary carries.
package docs

import _ "embed" // the pages

// Skill is what a newcomer or an assistant needs to use pillion, on one page
// of Markdown.
//
//go:embed skill/SKILL.md
var Skill string
