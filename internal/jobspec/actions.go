// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package jobspec

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// A template block's data is read once more on the worker, as a Go template with actions such as {{ key "a" }}. As with ${…}, the
// actions that the author wrote must stay, and data must never become one; what stands inside an author's action, as in
// {{ key "${param.x}" }}, must not become code there.
//
// The author's actions are marked in the syntax tree, where it is known whose text is whose: a mark before each left delimiter, and
// marks around each value that stands inside an action. The marks travel like those of ${…} and are read in one place only,
// actionText; everywhere else they are taken out.
const (
	defaultLeft  = "{{"
	defaultRight = "}}"
)

// insideAction is where a piece of text of a Go template stands.
type insideAction int

const (
	inText insideAction = iota
	inCode
	inString
	inStringEscape
	inRawString
	inRune
	inRuneEscape
	inComment
)

// actionScanner follows the text of a Go template.
type actionScanner struct {
	left, right string
	at          insideAction
}

// step takes the next piece of s, which is not empty, and says how long it is and whether it opens an action.
func (a *actionScanner) step(s string) (n int, opens bool) {
	_, n = utf8.DecodeRuneInString(s)
	switch a.at {
	case inText:
		if !strings.HasPrefix(s, a.left) {
			return n, false
		}
		a.at = inCode
		n = len(a.left)
		if code := strings.TrimPrefix(s[n:], "- "); strings.HasPrefix(code, "/*") {
			a.at = inComment
			n += strings.Index(s[n:], "/*") + 2
		}
		return n, true
	case inCode:
		switch {
		case strings.HasPrefix(s, a.right):
			a.at = inText
			return len(a.right), false
		case s[0] == '"':
			a.at = inString
		case s[0] == '`':
			a.at = inRawString
		case s[0] == '\'':
			a.at = inRune
		}
	case inString, inRune:
		switch {
		case s[0] == '\\':
			a.at++ // its escape
		case s[0] == '"' && a.at == inString, s[0] == '\'' && a.at == inRune:
			a.at = inCode
		}
	case inStringEscape, inRuneEscape:
		a.at--
	case inRawString:
		if s[0] == '`' {
			a.at = inCode
		}
	case inComment:
		if strings.HasPrefix(s, "*/") {
			a.at = inCode
			return 2, false
		}
	}
	return n, false
}

// mark returns s with a mark before each action that it opens.
func (a *actionScanner) mark(s string) string {
	var out strings.Builder
	for len(s) > 0 {
		n, opens := a.step(s)
		if opens {
			out.WriteString(markOpen)
		}
		out.WriteString(s[:n])
		s = s[n:]
	}
	return out.String()
}

// actions marks the author's actions in the parts of one template of HCL. It returns nil if there are none.
func (r *rewriter) actions(parts []hclsyntax.Expression) []hclsyntax.Expression {
	found := false
	for _, part := range parts {
		text, ok := literalText(part)
		found = found || ok && strings.Contains(text, r.left)
	}
	if !found {
		return nil
	}
	scanner := actionScanner{left: r.left, right: r.right}
	var out []hclsyntax.Expression
	add := func(text string, at hcl.Range) {
		out = append(out, &hclsyntax.LiteralValueExpr{Val: cty.StringVal(text), SrcRange: at})
	}
	for _, part := range parts {
		at := part.Range()
		switch text, ok := literalText(part); {
		case ok:
			add(scanner.mark(text), at)
		case scanner.at != inText:
			add(markIn, at)
			out = append(out, part)
			add(markOut, at)
			if scanner.at == inStringEscape || scanner.at == inRuneEscape {
				scanner.at-- // the value is what the backslash stands before, and refused there
			}
		default:
			out = append(out, part)
		}
	}
	if scanner.at != inText {
		at := parts[len(parts)-1].Range()
		if r.inData {
			r.errorf(at, "Template made of pieces",
				"This text opens an action with %s and does not close it with %s, so that what comes next would become part of its code. "+
					"Write the whole action in one text.", r.left, r.right)
		}
		add(markBroken, at)
	}
	return out
}

func literalText(e hclsyntax.Expression) (string, bool) {
	lit, ok := e.(*hclsyntax.LiteralValueExpr)
	if !ok || lit.Val.Type() != cty.String || lit.Val.IsNull() || !lit.Val.IsKnown() {
		return "", false
	}
	return lit.Val.AsString(), true
}

// template rewrites a template block.
func (r *rewriter) template(b *hclsyntax.Body, sc *scope) *hclsyntax.Body {
	left, right := r.left, r.right
	defer func() { r.left, r.right, r.inData = left, right, false }()
	out := r.body(b, sc, map[string]bool{"data": true})
	data := b.Attributes["data"]
	if data == nil {
		return out
	}
	r.left, r.right = constantText(b.Attributes["left_delimiter"], left), constantText(b.Attributes["right_delimiter"], right)
	authors := true
	for _, t := range Variables(data.Expr) {
		_, bound := sc.lookup(t.RootName())
		authors = authors && !bound && r.isReference(t)
	}
	r.inData = !authors
	changed := *data
	changed.Expr = r.expr(data.Expr, sc, true)
	if authors {
		changed.Expr = authorsExpr{asChild(changed.Expr)}
	}
	out.Attributes["data"] = &changed
	return out
}

// constantText is the text of an argument, or fallback where there is none that could be known now.
func constantText(attr *hclsyntax.Attribute, fallback string) string {
	if attr != nil {
		if v, diags := attr.Expr.Value(nil); !diags.HasErrors() && v.Type() == cty.String && v.IsKnown() && !v.IsNull() && v.AsString() != "" {
			return v.AsString()
		}
	}
	return fallback
}

// authorsExpr is an expression with no data in it, so that all of its text is the author's, whatever was done with it.
type authorsExpr struct{ hclsyntax.Expression }

// Value marks the text as the author's.
func (e authorsExpr) Value(ctx *hcl.EvalContext) (cty.Value, hcl.Diagnostics) {
	v, diags := e.Expression.Value(ctx)
	if diags.HasErrors() || v.IsNull() || !v.IsKnown() || v.Type() != cty.String {
		return v, diags
	}
	v, marks := v.Unmark()
	return cty.StringVal(markAll + plainText(v.AsString())).WithMarks(marks), diags
}

// fileText marks the text of a file, all of which is the author's.
func fileText(s string) (string, error) {
	if strings.ContainsAny(s, allMarks) {
		return "", errors.New("the file contains one of the noncharacters U+FDD0 to U+FDD7, which are not for use in text")
	}
	s = authored(s)
	if !strings.Contains(s, defaultLeft) {
		return s, nil
	}
	scanner := actionScanner{left: defaultLeft, right: defaultRight}
	if s = scanner.mark(s); scanner.at != inText {
		s += markBroken
	}
	return s, nil
}

var (
	// plainDelimiter: no letter, quote or escape, which mean something inside of an action, and nothing of HCL's.
	plainDelimiter = regexp.MustCompile(`^[][{}()<>%#@~!?|=&^:;]+$`)
	// plainCode is data that may stand inside an action outside of a string: it can be nothing but itself.
	plainCode    = regexp.MustCompile(`^(-?[0-9]+(\.[0-9]+)?|true|false)$`)
	escapeString = strings.NewReplacer(`"`, `\"`, `\`, `\\`, "\n", `\n`, "\r", `\r`)
)

// actionText turns evaluated text into the data of a template block: the author's actions as they are, data so that it comes
// out of the template unchanged.
func actionText(s, left, right string) (string, error) {
	if rest, ok := strings.CutPrefix(s, markAll); ok {
		return rest, nil
	}
	if !strings.Contains(withoutActions(s), left) {
		return plainText(s), nil
	}
	if !plainDelimiter.MatchString(left) || !plainDelimiter.MatchString(right) || strings.Contains(left, "%{") {
		return "", fmt.Errorf("holds %s, and with delimiters such as %s and %s it cannot be told whether it comes from data; use others", left, left, right)
	}
	scanner := actionScanner{left: left, right: right}
	var out strings.Builder
	for len(s) > 0 {
		n := len(markOpen) // of a mark; all are of one length
		switch {
		case strings.HasPrefix(s, markBroken):
			return "", errors.New("opens an action in one text and closes it in another, so that what stands between could become part of its code; " +
				"write the whole action in one text")
		case strings.HasPrefix(s, markIn) && scanner.at != inText:
			inner := valueInside(s)
			text, err := scanner.inside(inner)
			if err != nil {
				return "", err
			}
			out.WriteString(text)
			s = s[len(markIn)+len(inner)+len(markOut):]
			continue
		case strings.HasPrefix(s, markOpen) && scanner.at == inText && strings.HasPrefix(s[n:], left):
			s = s[n:]
			n, _ = scanner.step(s)
			out.WriteString(s[:n])
		case hasActionMark(s):
		case scanner.at == inText && startsWith(s, left):
			_, n = utf8.DecodeRuneInString(s)
			out.WriteString(left + `"` + s[:n] + `"` + right)
		default:
			n, _ = scanner.step(s)
			out.WriteString(s[:n])
		}
		s = s[n:]
	}
	if scanner.at != inText {
		return "", fmt.Errorf("opens an action with %s and does not close it", left)
	}
	return plainText(out.String()), nil
}

// valueInside is what stands between the markIn that s begins with and the markOut that belongs to it.
func valueInside(s string) string {
	s = s[len(markIn):]
	depth := 1
	for i := range s {
		switch {
		case strings.HasPrefix(s[i:], markIn):
			depth++
		case strings.HasPrefix(s[i:], markOut):
			if depth--; depth == 0 {
				return s[:i]
			}
		}
	}
	return s
}

// inside writes a value that stands inside an action, so that it stays what it is.
func (a *actionScanner) inside(value string) (string, error) {
	value = withoutActions(value)
	switch a.at {
	case inString:
		return escapeString.Replace(value), nil
	case inRawString:
		if !strings.ContainsAny(value, "`\r") {
			return value, nil
		}
		return "", errors.New("has a value between backquotes that contains a backquote or carriage return; write the string in double quotes")
	case inComment:
		return "", nil
	case inCode:
		if plainCode.MatchString(value) {
			return value, nil
		}
		return "", fmt.Errorf("has a value inside of %s … %s that would become code there; put it between double quotes. Without quotes only a number, true or false may stand there", a.left, a.right)
	}
	return "", errors.New("has a value behind a backslash or between single quotes inside of an action; put it between double quotes")
}

// startsWith reports whether s begins with prefix when the marks of actions are taken out.
func startsWith(s, prefix string) bool {
	for len(prefix) > 0 {
		switch {
		case s == "":
			return false
		case hasActionMark(s):
			s = s[len(markOpen):]
		case s[0] != prefix[0]:
			return false
		default:
			s, prefix = s[1:], prefix[1:]
		}
	}
	return true
}
