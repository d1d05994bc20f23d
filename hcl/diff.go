// Copyright (c) The Cairn Authors
// SPDX-License-Identifier: MPL-2.0

package hcl

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"

	"github.com/cairnflow/cairn/internal/workflow"
)

// Action says what became of something between two definitions.
type Action string

// The actions.
const (
	Added   Action = "added"
	Removed Action = "removed"
	Changed Action = "changed"
)

// Change is one difference between two definitions of a workflow.
type Change struct {
	Action Action
	// Path leads to it: the blocks it stands in, as they are written, then itself: `task "load"`, `config`, `args`.
	Path []string
	// Old and New are what stands there, in one layout: the value of an attribute, the whole of a block, the text of a file.
	// Empty where there is nothing, or nothing to be shown: of another workflow, and of files that are large or no text.
	Old, New string
}

const (
	// sensitiveText stands where the default of something sensitive would.
	sensitiveText = "(sensitive)"
	// topLocals is in paths what stands at the top of the files, beside the workflow.
	topLocals = "locals at the top"
	// maxShownFile bounds the files whose text is part of a change.
	maxShownFile = 64 << 10
)

// Diff tells what is different in the newer of two definitions of a workflow: by block and attribute, whatever the order,
// the layout, the comments and the files they stand in. Beside the workflow it looks at what the definition carries along:
// locals at the top, other workflows of the same files, and the files that are named. A nil older one makes everything new,
// but for the other workflows.
func Diff(old, new *workflow.Definition) []Change {
	var d differ
	now := treeOf(new)
	if old == nil {
		now.parts = slices.DeleteFunc(now.parts, func(n *node) bool { return n.beside })
	}
	d.children(nil, treeOf(old), now)
	return d.changes
}

// node is a block, an attribute or a file, in the form in which two of them are compared.
type node struct {
	name     string
	text     string  // of what has no parts
	parts    []*node // of a block, and of an attribute that is an object
	block    bool
	attr     bool
	opaque   bool   // its text is compared, and not shown
	beside   bool   // another workflow of the files
	fullText string // what is compared in place of text, if it is not to be shown
}

// treeOf is everything that a definition is made of.
func treeOf(def *workflow.Definition) *node {
	root := &node{block: true}
	if def == nil {
		return root
	}
	own := slices.DeleteFunc(slices.Clone(def.Files), func(f workflow.File) bool { return f.Named })
	sources, texts := parse(own, &findings{})
	top := &node{name: topLocals, block: true}
	var beside []*node
	for _, s := range sources {
		p := painter{src: texts[s.path]}
		for _, b := range s.body.Blocks {
			switch {
			case b.Type == "locals":
				top.parts = append(top.parts, p.body(b.Body, false)...)
			case b.Type == "workflow" && len(b.Labels) == 1 && b.Labels[0] == def.Name:
				root.parts = append(root.parts, p.body(b.Body, false)...)
			default:
				n := p.block(b)
				beside = append(beside, &node{name: n.name, text: n.same(), opaque: true, beside: true})
			}
		}
	}
	if len(top.parts) > 0 {
		root.parts = append(root.parts, top)
	}
	root.parts = append(root.parts, beside...)
	for _, f := range def.Files {
		if f.Named {
			large := len(f.Bytes) > maxShownFile || !utf8.Valid(f.Bytes) || bytes.IndexByte(f.Bytes, 0) >= 0
			root.parts = append(root.parts, &node{name: "file " + strconv.Quote(f.Path), text: string(f.Bytes), opaque: large})
		}
	}
	return root
}

// painter turns the syntax of one file into nodes.
type painter struct{ src []byte }

// body is what stands in a block, in the order of writing. All locals of a body are one block.
func (p painter) body(b *hclsyntax.Body, sensitive bool) []*node {
	type placed struct {
		at int
		n  *node
	}
	var all []placed
	for _, a := range slices.Collect(maps.Values(b.Attributes)) {
		n := p.attribute(a.Name, a.Expr)
		if sensitive && a.Name == "default" {
			n = &node{name: a.Name, attr: true, text: sensitiveText, fullText: n.String()}
		}
		all = append(all, placed{a.NameRange.Start.Byte, n})
	}
	var locals *node
	for _, block := range b.Blocks {
		n := p.block(block)
		if block.Type == "locals" && locals != nil {
			locals.parts = append(locals.parts, n.parts...)
			continue
		}
		if block.Type == "locals" {
			locals = n
		}
		all = append(all, placed{block.TypeRange.Start.Byte, n})
	}
	slices.SortFunc(all, func(a, b placed) int { return cmp.Compare(a.at, b.at) })
	out := make([]*node, len(all))
	for i, one := range all {
		out[i] = one.n
	}
	return out
}

func (p painter) block(b *hclsyntax.Block) *node {
	n := &node{name: b.Type, block: true}
	for _, label := range b.Labels {
		n.name += " " + strconv.Quote(label)
	}
	sensitive := false
	if a := b.Body.Attributes["sensitive"]; a != nil {
		sensitive = p.text(a.Expr) != "false" // also where it is nothing that can be known here
	}
	n.parts = p.body(b.Body, sensitive)
	return n
}

// attribute is an attribute, or an element of an object: with its elements, where it is one itself.
func (p painter) attribute(name string, expr hclsyntax.Expression) *node {
	n := &node{name: name, attr: true}
	object, ok := expr.(*hclsyntax.ObjectConsExpr)
	if !ok || len(object.Items) == 0 {
		n.text = p.text(expr)
		return n
	}
	for _, item := range object.Items {
		n.parts = append(n.parts, p.attribute(p.key(item.KeyExpr), item.ValueExpr))
	}
	return n
}

// key is the name of an element of an object.
func (p painter) key(expr hclsyntax.Expression) string {
	if word := hcl.ExprAsKeyword(expr); word != "" {
		return word
	}
	if v, diags := expr.Value(nil); !diags.HasErrors() && v.Type() == cty.String && v.IsKnown() && !v.IsNull() {
		if hclsyntax.ValidIdentifier(v.AsString()) {
			return v.AsString()
		}
		return strconv.Quote(v.AsString())
	}
	return p.text(expr)
}

// text is an expression in one layout.
func (p painter) text(expr hclsyntax.Expression) string {
	switch e := expr.(type) {
	case *hclsyntax.TupleConsExpr:
		return "[" + p.list(e.Exprs) + "]"
	case *hclsyntax.FunctionCallExpr:
		if !e.ExpandFinal {
			return e.Name + "(" + p.list(e.Args) + ")"
		}
	case *hclsyntax.ObjectConsExpr:
		parts := make([]string, len(e.Items))
		for i, item := range e.Items {
			parts[i] = p.key(item.KeyExpr) + " = " + p.text(item.ValueExpr)
		}
		if len(parts) == 0 {
			return "{}"
		}
		return "{ " + strings.Join(parts, ", ") + " }"
	}
	r := expr.Range()
	raw := bytes.TrimSpace(r.SliceBytes(p.src))
	if bytes.HasPrefix(raw, []byte("<<")) {
		return heredoc(string(raw))
	}
	return oneLine(raw)
}

func (p painter) list(exprs []hclsyntax.Expression) string {
	parts := make([]string, len(exprs))
	for i, e := range exprs {
		parts[i] = p.text(e)
		if strings.HasPrefix(parts[i], "<<") {
			parts[i] += "\n" // its end stands alone
		}
	}
	return strings.Join(parts, ", ")
}

// heredoc takes the indentation out that `<<-` takes out.
func heredoc(text string) string {
	if !strings.HasPrefix(text, "<<-") {
		return text
	}
	lines := strings.Split(text, "\n")
	indent := -1
	for _, line := range lines[1:] {
		if n := len(line) - len(strings.TrimLeft(line, " \t")); strings.TrimSpace(line) != "" && (indent < 0 || n < indent) {
			indent = n
		}
	}
	for i, line := range lines[1:] {
		lines[i+1] = line[min(max(indent, 0), len(line)):]
	}
	return strings.Join(lines, "\n")
}

// oneLine takes comments and line ends out of an expression.
func oneLine(raw []byte) string {
	tokens, _ := hclsyntax.LexExpression(raw, "", hcl.InitialPos)
	var b bytes.Buffer
	end, heredoc := 0, false
	for _, t := range tokens {
		switch t.Type {
		case hclsyntax.TokenOHeredoc:
			heredoc = true
		case hclsyntax.TokenCHeredoc:
			heredoc = false
		case hclsyntax.TokenNewline, hclsyntax.TokenComment, hclsyntax.TokenEOF:
			if !heredoc {
				continue
			}
		}
		if t.Range.Start.Byte > end && b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.Write(t.Bytes)
		end = t.Range.End.Byte
	}
	return string(bytes.TrimSpace(hclwrite.Format(b.Bytes())))
}

// String is a node as it could be written.
func (n *node) String() string {
	var b strings.Builder
	n.write(&b, "", func(n *node) string { return n.text })
	return strings.TrimSuffix(b.String(), "\n")
}

// same is what two nodes are compared by; what is not to be shown counts too.
func (n *node) same() string {
	var b strings.Builder
	n.write(&b, "", func(n *node) string { return cmp.Or(n.fullText, n.text) })
	return b.String()
}

func (n *node) write(b *strings.Builder, indent string, text func(*node) string) {
	switch {
	case n.parts == nil && !n.block && n.attr:
		b.WriteString(indent + n.name + " = " + text(n) + "\n")
		return
	case n.parts == nil && !n.block:
		b.WriteString(text(n) + "\n")
		return
	case n.attr:
		b.WriteString(indent + n.name + " = {\n")
	default:
		b.WriteString(indent + n.name + " {\n")
	}
	for _, part := range n.parts {
		part.write(b, indent+"  ", text)
	}
	b.WriteString(indent + "}\n")
}

// shown is what a change says of a node.
func (n *node) shown() string {
	switch {
	case n == nil, n.opaque:
		return ""
	case n.attr && n.parts == nil:
		return n.text
	}
	return n.String()
}

// differ collects changes.
type differ struct{ changes []Change }

// children compares what stands in two blocks: in the order of the newer one, and what is gone behind it.
func (d *differ) children(path []string, old, new *node) {
	pairs, gone := pair(old.parts, new.parts)
	for i, n := range new.parts {
		d.node(path, pairs[i], n)
	}
	for _, o := range gone {
		d.node(path, o, nil)
	}
}

// pair finds for each of the newer nodes the older one that it has become, or nil. Of several with one name, those that are
// the same go together first, then the others in their order.
func pair(old, new []*node) (pairs, gone []*node) {
	left := map[string][]*node{}
	for _, o := range old {
		left[o.name] = append(left[o.name], o)
	}
	pairs = make([]*node, len(new))
	take := func(i int, which func(*node) bool) {
		name := new[i].name
		if at := slices.IndexFunc(left[name], which); at >= 0 {
			pairs[i] = left[name][at]
			left[name] = slices.Delete(slices.Clone(left[name]), at, at+1)
		}
	}
	many := map[string]int{}
	for _, n := range slices.Concat(old, new) {
		many[n.name]++
	}
	for i, n := range new {
		if many[n.name] > 2 { // else there is no choice
			same := n.same()
			take(i, func(o *node) bool { return o.same() == same })
		}
	}
	for i := range new {
		if pairs[i] == nil {
			take(i, func(*node) bool { return true })
		}
	}
	for _, o := range old {
		if slices.Contains(left[o.name], o) {
			gone = append(gone, o)
		}
	}
	return pairs, gone
}

// node compares what one thing was and is; nil = it was not, or is not any more.
func (d *differ) node(path []string, old, new *node) {
	switch {
	case old == nil:
		d.add(Added, path, nil, new)
	case new == nil:
		d.add(Removed, path, old, nil)
	case old.same() == new.same():
	case old.block && new.block, old.parts != nil && new.parts != nil:
		d.children(append(slices.Clone(path), new.name), old, new)
	default:
		d.add(Changed, path, old, new)
	}
}

func (d *differ) add(action Action, path []string, old, new *node) {
	name := ""
	if old != nil {
		name = old.name
	}
	if new != nil {
		name = new.name
	}
	d.changes = append(d.changes, Change{action, append(slices.Clone(path), name), old.shown(), new.shown()})
}
