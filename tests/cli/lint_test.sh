#!/usr/bin/env bash
# The lint test: the repository has no finding, and a small tree with one breach of each rule has them all.
set -euo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
bad=$(mktemp -d)
trap 'rm -rf "$bad"' EXIT
mkdir -p "$bad"/{core,kernels,nodes/lib,nodes/wan,nodes/other,cache,lua,tests,tools}

{
    echo '/* A file with everything that is not done. */'
    printf '#include "%s"\n' cache/c.h nodes/wan/w.h ../up.h core/none.h kernels/k.h
    printf '#include <%s>\n' sqlite3.h lua.h
    echo 'void f(void)'
    echo '{'
    echo '    printf("%d", 1);'
    echo '    exit(1);'
    echo '    getenv("HOME");'
    echo '    fprintf(stderr, "no");'
    echo '    /* exit(1) in a comment and "exit(1)" in a text are no calls */ g("exit(1)");'
    printf '\tg();\n'
    yes '    g();' | head -n 60 || true
    echo '}'
    echo '#if KG_CUDA'
    echo '#endif'
    printf '/* %150s */\n' x
    yes '' | head -n 600 || true
} >"$bad/core/f.c"
echo '/* c */' | tee "$bad/cache/c.h" "$bad/kernels/k.h" "$bad/nodes/wan/w.h" "$bad/nodes/lib/l.h" >/dev/null
cat >"$bad/nodes/other/o.c" <<'END'
/* A family that looks into another one, and at an address. */
#include "nodes/wan/w.h"
#include "nodes/lib/l.h"
static kg_status execute(kg_exec *x)
{
    return *(float *)kg_in(x, 0).at > 0;
}
static kg_status work(void *arg, const kg_tensor *ins, const kg_tensor *outs)
{
    return *(float *)ins[0].at > 0;
}
END
cat >"$bad/nodes/wan/k.cu" <<'END'
/* Long kernels are allowed up to a point. */
__global__ void k(int *p)
{
END
{ yes '    ++*p;' | head -n 100 || true; echo '}'; } >>"$bad/nodes/wan/k.cu"

out=$(luajit "$here/tools/lint.lua" "$bad") && { echo "no finding in a bad tree"; exit 1; }
status=0
want() { grep -qE "$1" <<<"$out" || { echo "not found: $1"; status=1; }; }
want 'core/f.c:2: core does not include cache'
want 'core/f.c:3: core does not include nodes/wan'
want 'core/f.c:4: .*not spelled from the root'
want 'core/f.c:5: .*names no file'
want 'core/f.c:6: core does not include kernels'
want 'core/f.c:7: <sqlite3.h> is for cache alone'
want 'core/f.c:8: <lua.h> is for lua alone'
want 'core/f.c:9: a function of [0-9]+ lines'
want 'core/f.c:11: printf'
want 'core/f.c:12: exit'
want 'core/f.c:13: getenv'
want 'core/f.c:14: a library does not print'
want 'core/f.c:16: a tab'
want 'a backend is named in kernels/kernel.h alone'
want 'columns, at most'
want 'core/f.c:[0-9]+: [0-9]+ lines, at most 600'
want 'nodes/other/o.c:2: nodes/other does not include nodes/wan'
want "nodes/other/o.c:6: a tensor's address"
for not in 'core/f.c:15:' 'o.c:3:' 'o.c:10:' 'k.cu'; do
    ! grep -q "$not" <<<"$out" || { echo "found, but it is right: $not"; status=1; }
done
[[ $status -eq 0 ]] || { echo "$out"; exit 1; }

luajit "$here/tools/lint.lua" "$here"
