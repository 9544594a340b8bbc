// Tells, one JSON object a line, what BuildKit makes of Dockerfiles, words and .dockerignore files.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"strings"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	"github.com/moby/buildkit/frontend/dockerui"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/frontend/subrequests/lint"
	"github.com/moby/buildkit/frontend/subrequests/outline"
	"github.com/moby/buildkit/frontend/subrequests/targets"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
	digest "github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

type request struct {
	Op       string
	Text     string
	Env      []string
	Escape   string
	Raw      bool
	Skip     bool
	Quotes   bool
	Paths    []string
	Patterns string
	Args     map[string]string
	Method   string
	Target   string
}

type answer map[string]any

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			break
		}
		var r request
		if err := json.Unmarshal(line, &r); err != nil {
			panic(err)
		}
		var a answer
		switch r.Op {
		case "parse":
			a = parse(r.Text)
		case "expand":
			a = expand(r)
		case "ignore":
			a = ignore(r)
		case "lint":
			a = check(r)
		case "call":
			a = call(r)
		}
		if err := enc.Encode(a); err != nil {
			panic(err)
		}
		out.Flush()
	}
}

func parse(text string) answer {
	result, err := parser.Parse(bytes.NewReader([]byte(text)))
	if err != nil {
		return answer{"error": err.Error()}
	}
	stages, args, err := instructions.Parse(result.AST, linter.New(&linter.Config{}))
	if err != nil {
		return answer{"error": err.Error()}
	}
	if len(stages) == 0 { // dockerfile2llb's words
		return answer{"error": "dockerfile contains no stages to build"}
	}
	made := []any{}
	for _, s := range stages {
		commands := []any{}
		for _, c := range s.Commands {
			commands = append(commands, command(c))
		}
		made = append(made, answer{"name": s.Name, "base": s.BaseName, "platform": s.Platform, "code": s.SourceCode,
			"lines": lines(s.Location), "commands": commands})
	}
	global := []any{}
	for i := range args {
		global = append(global, command(&args[i]))
	}
	return answer{"stages": made, "args": global, "escape": string(result.EscapeToken), "warnings": len(result.Warnings)}
}

func lines(r []parser.Range) []int {
	return []int{r[0].Start.Line, r[len(r)-1].End.Line}
}

func kvs(p instructions.KeyValuePairs) [][]any {
	out := [][]any{}
	for _, kv := range p {
		out = append(out, []any{kv.Key, kv.Value, kv.NoDelim})
	}
	return out
}

func line(l instructions.ShellDependantCmdLine) answer {
	files := [][]any{}
	for _, f := range l.Files {
		files = append(files, []any{f.Name, f.Data, f.Chomp})
	}
	return answer{"words": strs(l.CmdLine), "shell": l.PrependShell, "files": files}
}

func strs(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

func sources(s instructions.SourcesAndDest) []any {
	docs := [][]any{}
	for _, c := range s.SourceContents {
		docs = append(docs, []any{c.Path, c.Data, c.Expand})
	}
	return []any{strs(s.SourcePaths), docs, s.DestPath}
}

func command(c instructions.Command) answer {
	a := answer{"kind": strings.ToUpper(c.Name()), "lines": lines(c.Location())}
	switch c := c.(type) {
	case *instructions.ArgCommand:
		defs := [][]any{}
		for _, d := range c.Args {
			defs = append(defs, []any{d.Key, d.Value})
		}
		a["v"] = defs
	case *instructions.EnvCommand:
		a["v"] = kvs(c.Env)
	case *instructions.LabelCommand:
		a["v"] = kvs(c.Labels)
	case *instructions.RunCommand:
		a["v"] = line(c.ShellDependantCmdLine)
		a["network"] = instructions.GetNetwork(c)
		a["security"] = instructions.GetSecurity(c)
		froms := []string{}
		for _, m := range instructions.GetMounts(c) {
			froms = append(froms, m.From)
		}
		a["mounts"] = froms
		lex := shell.NewLex('\\')
		env := shell.EnvsFromSlice([]string{"a=A", "b=B C"})
		err := c.Expand(func(w string) (string, error) {
			r, _, err := lex.ProcessWord(w, env)
			return r, err
		})
		if err != nil {
			a["mountError"] = err.Error()
		} else {
			a["mountValues"] = instructions.GetMounts(c)
		}
	case *instructions.CmdCommand:
		a["v"] = line(c.ShellDependantCmdLine)
	case *instructions.EntrypointCommand:
		a["v"] = line(c.ShellDependantCmdLine)
	case *instructions.CopyCommand:
		a["v"] = sources(c.SourcesAndDest)
		a["flags"] = []any{c.From, c.Chown, c.Chmod, c.Link, c.Parents, strs(c.ExcludePatterns)}
	case *instructions.AddCommand:
		a["v"] = sources(c.SourcesAndDest)
		a["flags"] = []any{c.Checksum, c.Chown, c.Chmod, c.Link, c.KeepGitDir, c.Unpack, strs(c.ExcludePatterns)}
	case *instructions.HealthCheckCommand:
		h := c.Health
		a["v"] = []any{h.Test, h.Interval, h.Timeout, h.StartPeriod, h.StartInterval, h.Retries}
	case *instructions.ExposeCommand:
		a["v"] = c.Ports
	case *instructions.UserCommand:
		a["v"] = c.User
	case *instructions.WorkdirCommand:
		a["v"] = c.Path
	case *instructions.VolumeCommand:
		a["v"] = c.Volumes
	case *instructions.StopSignalCommand:
		a["v"] = c.Signal
	case *instructions.ShellCommand:
		a["v"] = c.Shell
	case *instructions.OnbuildCommand:
		a["v"] = c.Expression
	case *instructions.MaintainerCommand:
		a["v"] = c.Maintainer
	}
	return a
}

func expand(r request) answer {
	lex := shell.NewLex([]rune(r.Escape)[0])
	lex.RawQuotes = r.Raw
	lex.RawEscapes = r.Raw
	lex.SkipUnsetEnv = r.Skip
	lex.SkipProcessQuotes = r.Quotes
	env := shell.EnvsFromSlice(r.Env)
	res, err := lex.ProcessWordWithMatches(r.Text, env)
	if err != nil {
		return answer{"error": err.Error()}
	}
	unmatched := []string{}
	for k := range res.Unmatched {
		unmatched = append(unmatched, k)
	}
	return answer{"text": res.Result, "words": strs(res.Words), "unset": unmatched}
}

func ignore(r request) answer {
	patterns, err := ignorefile.ReadAll(strings.NewReader(r.Patterns))
	if err != nil {
		return answer{"error": err.Error()}
	}
	pm, err := patternmatcher.New(patterns)
	if err != nil {
		return answer{"error": err.Error()}
	}
	found := []string{}
	for _, p := range r.Paths {
		m, err := pm.MatchesOrParentMatches(p)
		if err != nil {
			return answer{"error": err.Error()}
		}
		if m {
			found = append(found, p)
		}
	}
	return answer{"matched": found}
}

type resolver struct{}

// ResolveImageConfig has the same image behind every name.
func (resolver) ResolveImageConfig(_ context.Context, ref string, _ sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	layer := "sha256:" + strings.Repeat("0", 64)
	dt, err := json.Marshal(answer{"architecture": "amd64", "os": "linux",
		"config": answer{"Env": []string{"PATH=/bin", "FROMIMAGE=1"}},
		"rootfs": answer{"type": "layers", "diff_ids": []string{layer}}})
	return ref, "", dt, err
}

func check(r request) answer {
	found, err := lintOf(r)
	if err != nil {
		return answer{"error": err.Error()}
	}
	warnings := [][]any{}
	for _, w := range found.Warnings {
		warnings = append(warnings, []any{w.RuleName, w.Detail, w.Location.Ranges[0].Start.Line})
	}
	a := answer{"warnings": warnings}
	if found.Error != nil {
		a["error"] = found.Error.Message
	}
	return a
}

func options(r request) dockerfile2llb.ConvertOpt {
	amd := ocispecs.Platform{OS: "linux", Architecture: "amd64"}
	scratch := llb.Scratch()
	sources := llb.NewSourceMap(&scratch, "Dockerfile", "Dockerfile", []byte(r.Text))
	sources.Definition = &llb.Definition{}
	opt := dockerfile2llb.ConvertOpt{MetaResolver: resolver{}, TargetPlatform: &amd, SourceMap: sources}
	opt.Config = dockerui.Config{BuildArgs: r.Args, BuildPlatforms: []ocispecs.Platform{amd}}
	opt.Target = r.Target
	return opt
}

func lintOf(r request) (*lint.LintResults, error) {
	return dockerfile2llb.DockerfileLint(context.Background(), []byte(r.Text), options(r))
}

// call gives the document and the text that buildx prints. ListTargets has no linter, and panics where a comment above an
// instruction is a check=.
func call(r request) (told answer) {
	defer func() {
		if recover() != nil {
			told = answer{"panic": true}
		}
	}()
	var doc any
	var err error
	text := bytes.NewBuffer(nil)
	switch r.Method {
	case "check":
		var found *lint.LintResults
		if found, err = lintOf(r); err == nil {
			doc = found
			err = found.PrintTo(text, nil)
		}
	case "outline":
		var found *outline.Outline
		if found, err = dockerfile2llb.Dockerfile2Outline(context.Background(), []byte(r.Text), options(r)); err == nil {
			var res *gateway.Result
			doc = found
			if res, err = found.ToResult(); err == nil {
				text.Write(res.Metadata["result.txt"])
			}
		}
	case "targets":
		var found *targets.List
		if found, err = dockerfile2llb.ListTargets(context.Background(), []byte(r.Text)); err == nil {
			var res *gateway.Result
			doc = found
			if res, err = found.ToResult(); err == nil {
				text.Write(res.Metadata["result.txt"])
			}
		}
	}
	if err != nil {
		return answer{"error": err.Error()}
	}
	return answer{"document": doc, "text": text.String()}
}
