package shell

import (
	"bytes"
	"strconv"
	"strings"
	"sync"

	"mvdan.cc/sh/v3/syntax"
)

// The interpreter runs "&" in a goroutine, and its $! is no process. So a
// program is rewritten before it runs:
//
//	sleep 5 &            →  &job sleep 5         a process, not waited for
//	{ a; b; } &          →  &shell 7 "$-" "$@"   a shell of its own runs statement 7
//	$! $0                →  variables that environment.Get knows
const (
	simpleJob       = "&job"
	shellJob        = "&shell"
	lastJobVariable = "_minictr_job"
	nameVariable    = "_minictr_name"
)

// A backgroundText is a statement that runs in a shell of its own.
type backgroundText struct {
	text    string
	command string // of a simple command: its name
	become  string // and the text by which the shell becomes it
}

// A statementTable keeps what runs in the background, by number.
type statementTable struct {
	mu   sync.Mutex
	list []backgroundText
}

func (t *statementTable) add(b backgroundText) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.list = append(t.list, b)
	return len(t.list) - 1
}

func (t *statementTable) get(number string) backgroundText {
	t.mu.Lock()
	defer t.mu.Unlock()
	i, err := strconv.Atoi(number)
	if err != nil || i < 0 || i >= len(t.list) {
		return backgroundText{}
	}
	return t.list[i]
}

// rewrite changes a program in place. Where it is what the shell itself runs,
// exec in it replaces the shell.
func (s *shell) rewrite(node syntax.Node, own bool) {
	if file, ok := node.(*syntax.File); ok && own {
		s.findExecs(file.Stmts)
	}
	syntax.Walk(node, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.ParamExp:
			if n.Param != nil && n.Param.Value == "!" {
				n.Param.Value, n.Short = lastJobVariable, false
			} else if n.Param != nil && n.Param.Value == "0" {
				n.Param.Value, n.Short = nameVariable, false
			}
		case *syntax.Stmt:
			if n.Background || n.Disown {
				s.rewriteJob(n)
				return n.Cmd != nil
			}
		}
		return true
	})
}

// rewriteJob turns a statement with "&" into a command that starts it.
func (s *shell) rewriteJob(statement *syntax.Stmt) {
	statement.Background, statement.Disown = false, false
	call, simple := statement.Cmd.(*syntax.CallExpr)
	simple = simple && len(call.Args) > 0 && len(call.Assigns) == 0 && !statement.Negated
	if simple && len(statement.Redirs) == 0 {
		call.Args = append([]*syntax.Word{literal(call.Args[0].Pos(), simpleJob)}, call.Args...)
		return
	}
	job := backgroundText{text: printed(statement)}
	if simple && call.Args[0].Lit() != "" {
		// Opening a file may wait, so the job does it; then it is the command, and not
		// a shell above it.
		job.command = call.Args[0].Lit()
		call.Args = append([]*syntax.Word{literal(call.Args[0].Pos(), "exec")}, call.Args...)
		job.become = printed(statement)
	}
	number := s.statements.add(job)
	*statement = syntax.Stmt{Position: statement.Position, Cmd: &syntax.CallExpr{Args: []*syntax.Word{
		literal(statement.Position, shellJob), literal(statement.Position, strconv.Itoa(number)),
		quoted("-"), quoted("@"),
	}}}
}

func literal(pos syntax.Pos, text string) *syntax.Word {
	return &syntax.Word{Parts: []syntax.WordPart{&syntax.Lit{ValuePos: pos, Value: text}}}
}

// quoted is "$name".
func quoted(name string) *syntax.Word {
	return &syntax.Word{Parts: []syntax.WordPart{&syntax.DblQuoted{Parts: []syntax.WordPart{
		&syntax.ParamExp{Short: true, Param: &syntax.Lit{Value: name}},
	}}}}
}

func printed(node syntax.Node) string {
	var b bytes.Buffer
	if err := syntax.NewPrinter().Print(&b, node); err != nil {
		return ""
	}
	return b.String()
}

// rewriteText is rewrite for what eval is given.
func (s *shell) rewriteText(text string) string {
	if !strings.ContainsAny(text, "&!") && !strings.Contains(text, "0") {
		return text
	}
	file, err := syntax.NewParser().Parse(strings.NewReader(text), "")
	if err != nil {
		return text // eval says what is wrong
	}
	s.rewrite(file, false)
	return printed(file)
}

// findExecs notes every exec that the shell itself runs, and none that a
// subshell or a part of a pipeline does: those are goroutines of this process,
// which must not become another program for their sake.
func (s *shell) findExecs(statements []*syntax.Stmt) {
	for _, statement := range statements {
		if statement.Background {
			continue
		}
		switch cmd := statement.Cmd.(type) {
		case *syntax.CallExpr:
			if len(cmd.Args) > 1 && cmd.Args[0].Lit() == "exec" {
				s.execs.Store(cmd.Args[0].Pos(), true)
			}
		case *syntax.Block:
			s.findExecs(cmd.Stmts)
		case *syntax.IfClause:
			for ; cmd != nil; cmd = cmd.Else {
				s.findExecs(cmd.Then)
			}
		case *syntax.BinaryCmd:
			if cmd.Op == syntax.AndStmt || cmd.Op == syntax.OrStmt {
				s.findExecs([]*syntax.Stmt{cmd.X, cmd.Y})
			}
		case *syntax.CaseClause:
			for _, item := range cmd.Items {
				s.findExecs(item.Stmts)
			}
		}
	}
}
