package policy

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/env"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
)

// Limits of a guard. A request pays at most maxGuards × maxGuardCost steps.
const (
	maxGuards     = 8    // different expressions in one transit
	maxGuardText  = 1024 // characters
	maxGuardNodes = 128
	maxGuardDepth = 16
	maxGuardCost  = 10_000

	maxGuardHeader = 8 << 10 // longest header value a guard is estimated for, in characters
)

// guard is a condition on the envelope of a request: its method, source, time
// and the headers that the transit names. It never sees a payload value. A guard
// that fails to evaluate is false, and every analysis of a pack holds it to be
// possibly true.
type guard struct {
	text        string
	program     cel.Program
	needsHeader bool
}

// guardEnvironment is what every guard is compiled in. It is immutable, and costs
// milliseconds to make.
var guardEnvironment = sync.OnceValue(func() *cel.Env {
	e, err := cel.NewCustomEnv(
		// What is left is comparison, logic, parts of strings and of a timestamp.
		cel.StdLib(cel.StdLibSubset(&env.LibrarySubset{
			DisableMacros:    true,
			ExcludeFunctions: excludedFunctions(),
		})),
		cel.ParserExpressionSizeLimit(maxGuardText),
		cel.ParserRecursionLimit(maxGuardDepth*8), // the grammar takes several steps per level of nesting
		cel.ExpressionNodeLimit(maxGuardNodes),
		cel.ExpressionNestingDepthLimit(maxGuardDepth),
		cel.Variable("method", cel.StringType),
		cel.Variable("source", cel.StringType),
		cel.Variable("time", cel.TimestampType),
		cel.Variable("headers", cel.MapType(cel.StringType, cel.StringType)),
	)
	if err != nil {
		panic("policy: the environment of guards, which is fixed: " + err.Error())
	}
	return e
})

// excludedFunctions are those of CEL that guards do not have: regular expressions,
// which can take long; conversions that hide a type; and time zones by name,
// which would be read from the machine's files under a name that a caller may choose.
func excludedFunctions() []*env.Function {
	out := []*env.Function{{Name: "matches"}, {Name: "bytes"}, {Name: "dyn"}, {Name: "type"}}
	for name, overload := range map[string]string{
		overloads.TimeGetFullYear: overloads.TimestampToYearWithTz, overloads.TimeGetMonth: overloads.TimestampToMonthWithTz,
		overloads.TimeGetDayOfYear: overloads.TimestampToDayOfYearWithTz, overloads.TimeGetDayOfMonth: overloads.TimestampToDayOfMonthZeroBasedWithTz,
		overloads.TimeGetDate: overloads.TimestampToDayOfMonthOneBasedWithTz, overloads.TimeGetDayOfWeek: overloads.TimestampToDayOfWeekWithTz,
		overloads.TimeGetHours: overloads.TimestampToHoursWithTz, overloads.TimeGetMinutes: overloads.TimestampToMinutesWithTz,
		overloads.TimeGetSeconds: overloads.TimestampToSecondsWithTz, overloads.TimeGetMilliseconds: overloads.TimestampToMillisecondsWithTz,
	} {
		out = append(out, &env.Function{Name: name, Overloads: []*env.Overload{{ID: overload}}})
	}
	return out
}

// placed is an error at an offset inside a text.
type placed struct {
	offset int // in bytes
	err    error
}

func placedf(offset int, format string, args ...any) *placed {
	return &placed{offset: offset, err: fmt.Errorf(format, args...)}
}

// compileGuard checks and compiles one expression. headers are those that the
// transit names, in lower case.
func compileGuard(text string, headers []string) (*guard, *placed) {
	env := guardEnvironment()
	if len(text) > maxGuardText {
		return nil, placedf(0, "the guard is longer than %d characters; shorten it", maxGuardText)
	}
	tree, issues := env.Compile(text)
	if errs := issues.Errors(); len(errs) > 0 {
		line, column := errs[0].Location.Line(), errs[0].Location.Column()
		why := strings.NewReplacer("\n", " ", "; ", ", ").Replace(errs[0].Message)
		return nil, placedf(offsetAt(text, line, column), "the guard does not compile: %s; a guard is a CEL condition over method, source, time and headers", why)
	}
	if out := tree.OutputType(); !out.IsExactType(types.BoolType) {
		return nil, placedf(0, "the guard is of type %s; write a condition that is true or false", out)
	}
	needs, bad := checkHeaders(tree.NativeRep(), headers)
	if bad != nil {
		return nil, bad
	}
	est, err := env.EstimateCost(tree, guardSizes{})
	if err == nil && est.Max > maxGuardCost {
		err = fmt.Errorf("it may take more than %d steps", maxGuardCost)
	}
	var program cel.Program
	if err == nil {
		program, err = env.Program(tree, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(maxGuardCost))
	}
	if err != nil {
		return nil, placedf(0, "the guard cannot be used: %w; simplify it", err)
	}
	return &guard{text: text, program: program, needsHeader: needs}, nil
}

// offsetAt is the offset in a text of a line from 1 and a column from 0.
func offsetAt(text string, line, column int) int {
	offset := 0
	for l := range strings.Lines(text) {
		if line--; line <= 0 {
			return offset + min(max(0, column), len(l))
		}
		offset += len(l)
	}
	return offset
}

// checkHeaders sees to it that headers is only ever read by a header name that
// the transit names, and reports whether it is read at all.
func checkHeaders(tree *ast.AST, headers []string) (needs bool, bad *placed) {
	indexed := map[int64]bool{} // the identifiers that are read by a name we have checked
	ast.PreOrderVisit(tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.CallKind:
			call := e.AsCall()
			args := call.Args()
			var m, key ast.Expr
			switch {
			case call.FunctionName() == operators.Index && len(args) == 2:
				m, key = args[0], args[1]
			case call.FunctionName() == operators.In && len(args) == 2:
				m, key = args[1], args[0]
			default:
				return
			}
			if m.Kind() != ast.IdentKind || m.AsIdent() != "headers" || key.Kind() != ast.LiteralKind {
				return
			}
			name, ok := key.AsLiteral().Value().(string)
			if ok && slices.Contains(headers, name) {
				indexed[m.ID()] = true
				return
			}
			indexed[m.ID()] = true
			if bad == nil {
				bad = placedf(offsetOf(tree, key), "the guard reads the header %q, which the transit does not name; name it under request.headers, in lower case here", name)
			}
		case ast.SelectKind:
			if op := e.AsSelect().Operand(); op.Kind() == ast.IdentKind && op.AsIdent() == "headers" && bad == nil {
				bad = placedf(offsetOf(tree, e), `the guard reads headers.%s; write headers["name"], in lower case`, e.AsSelect().FieldName())
			}
		case ast.IdentKind:
			if e.AsIdent() != "headers" {
				return
			}
			needs = true
			if !indexed[e.ID()] && bad == nil {
				bad = placedf(offsetOf(tree, e), `the guard uses all headers; read one by its name: headers["x-request-id"]`)
			}
		}
	}))
	return needs, bad
}

func offsetOf(tree *ast.AST, e ast.Expr) int {
	at, _ := tree.SourceInfo().GetOffsetRange(e.ID())
	return int(at.Start)
}

// guardSizes bounds the variables for the estimate of a guard's cost.
type guardSizes struct{}

func (guardSizes) EstimateSize(n cost.AstNode) *cost.SizeEstimate {
	switch p := n.Path(); {
	case len(p) == 0:
		return nil
	case p[0] == "headers" && len(p) == 1:
		return &cost.SizeEstimate{Max: 256}
	case p[0] == "headers":
		return &cost.SizeEstimate{Max: maxGuardHeader}
	}
	return &cost.SizeEstimate{Max: 64} // method, source
}

func (guardSizes) EstimateCallCost(string, string, *cost.AstNode, []cost.AstNode) *cost.CallEstimate {
	return nil // the standard figures
}

// holds evaluates the guard. Every failure is false: a guard that cannot be
// judged releases nothing.
func (g *guard) holds(env *Envelope, headers []string) bool {
	vars := map[string]any{"method": env.Method, "source": string(env.Source), "time": env.Time}
	if g.needsHeader {
		named := make(map[string]string, len(headers))
		for _, h := range headers {
			if env.Header == nil {
				break
			}
			if v := env.Header(h); v != "" {
				named[h] = v
			}
		}
		vars["headers"] = named
	}
	out, _, err := g.program.Eval(vars)
	return err == nil && out == types.True
}
