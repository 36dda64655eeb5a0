package ui

import (
	"strings"

	"github.com/rivo/uniseg"
)

const (
	resetColour = "\x1b[m"
	tabWidth    = 8
	// maxColours bounds the colour codes that a folded row repeats.
	maxColours = 256
)

// A folder lays out one line of an app in rows.
type folder struct {
	width int
	rows  []string
	row   strings.Builder
	used  int // columns of row
	open  string
	// word is what follows the last blank; it may move to the next row.
	word      strings.Builder
	wordCells int
	wordOpen  string // the colours that were open where it began
	blanks    int    // between row and word
}

// foldLog lays text, which holds colours and tabs but nothing else that is not
// text, out in rows of width columns. Rows break at blanks, or within a word
// that is longer than a row; each closes the colours it opened, and the next
// opens them again.
func foldLog(text string, width int) []string {
	if len(text) <= width && isPlain(text) { // as most lines are
		return []string{strings.TrimRight(text, " ")}
	}
	f := &folder{width: width}
	state := -1
	for text != "" {
		if code := colourCode(text); code != "" {
			f.colour(code)
			text = text[len(code):]
			state = -1
			continue
		}
		var cluster string
		var cells int
		cluster, text, cells, state = uniseg.FirstGraphemeClusterInString(text, state)
		switch cluster {
		case " ":
			f.blank(1)
		case "\t":
			at := f.used + f.blanks + f.wordCells
			f.blank(tabWidth - at%tabWidth)
		default:
			f.letter(cluster, cells)
		}
	}
	f.endWord()
	f.endRow()
	return f.rows
}

// isPlain reports whether each byte of text is a column.
func isPlain(text string) bool {
	for _, c := range []byte(text) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// colourCode is the colour code text begins with, or "".
func colourCode(text string) string {
	if !strings.HasPrefix(text, "\x1b[") {
		return ""
	}
	if end := strings.IndexByte(text, 'm'); end > 0 {
		return text[:end+1]
	}
	return ""
}

func (f *folder) colour(code string) {
	if f.wordCells == 0 && f.word.Len() == 0 {
		f.wordOpen = f.open
	}
	f.word.WriteString(code)
	f.open = after(f.open, code)
}

// after is what is open after code, if open was before.
func after(open, code string) string {
	params := code[2 : len(code)-1]
	switch {
	case params == "" || params == "0":
		return ""
	case strings.HasPrefix(params, "0;"), len(open)+len(code) > maxColours:
		return code
	}
	return open + code
}

func (f *folder) blank(n int) {
	f.endWord()
	f.blanks += n
}

func (f *folder) letter(cluster string, cells int) {
	if f.wordCells == 0 && f.word.Len() == 0 {
		f.wordOpen = f.open
	}
	if f.wordCells+cells > f.width && f.wordCells > 0 { // longer than a row
		f.endWord()
		f.wordOpen = f.open
	}
	f.word.WriteString(cluster)
	f.wordCells += cells
}

// endWord puts the word into the row, or into the next one if there is no room.
func (f *folder) endWord() {
	if f.word.Len() == 0 {
		return
	}
	if f.wordCells > 0 && f.used+f.blanks+f.wordCells > f.width && f.used+f.blanks > 0 {
		open := f.open
		f.open = f.wordOpen
		if f.used > 0 {
			f.endRow()
		}
		f.open, f.blanks = open, 0
	}
	f.row.WriteString(strings.Repeat(" ", f.blanks))
	f.used += f.blanks + f.wordCells
	f.row.WriteString(f.word.String())
	f.word.Reset()
	f.wordCells, f.blanks = 0, 0
}

// endRow ends the row and the colours in it, and begins the next with them.
func (f *folder) endRow() {
	row := f.row.String()
	if f.open != "" {
		row += resetColour
	}
	f.rows = append(f.rows, row)
	f.row.Reset()
	f.row.WriteString(f.open)
	f.used, f.blanks = 0, 0
}
