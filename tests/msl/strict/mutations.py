"""Texts made wrong by Metal's rules, one thing at a time, and why each is refused. The bench takes many of them."""

from dataclasses import dataclass, replace

from tests.msl.texts import KernelText, kernel_texts


@dataclass(frozen=True, slots=True)
class Mutation:
    """`before` becomes `after` where it first stands in the first text of a kernel; `reason` is a pattern."""

    what: str
    kernel: str
    before: str
    after: str
    reason: str

    def applied(self) -> KernelText:
        """The text, named after what is wrong. Raises ValueError where there is nothing to mutate."""
        text = next(each for each in kernel_texts() if each.name.startswith(f"{self.kernel}-"))
        if self.before not in text.text:
            raise ValueError(f"{self.kernel} has no {self.before!r}")
        return replace(text, name=self.what, text=text.text.replace(self.before, self.after, 1))


def _in_down(what: str, after: str, reason: str) -> Mutation:
    """Statements at the end of the kernel `down`, where i is a number and p a pointer to threadgroup memory."""
    end = "  if (slot == 0 && lane < uint(ROWS)) {\n    float sum = parts[lane];"
    return Mutation(what, "down", end, f"uint i = lane; threadgroup float* p = parts; {after}\n{end}", reason)


def _in_helper(what: str, after: str, reason: str) -> Mutation:
    """The same at the start of a function of a header, where `lane` is a number."""
    begin = "float own = 0.0f;"
    return Mutation(what, "down", begin, f"{after}\n{begin}", reason)


def _before_kernel(what: str, after: str, reason: str) -> Mutation:
    """The same outside functions."""
    begin = "template <typename T, typename X, int K"
    return Mutation(what, "down", begin, f"{after}\n{begin}", reason)


_NO_SPACE = "has no address space"
_OTHER_SPACE = "mismatching address spaces"
_PROGRAM = "program scope variable must reside in constant"

MUTATIONS = (
    # No address space.
    Mutation("pointer of a helper", "attend", "thread float* values)", "float* values)", _NO_SPACE),
    Mutation("reference of a helper", "qkv", "thread float4& sums", "float4& sums", _NO_SPACE),
    Mutation("array of a helper", "down", "const thread uint* block,", "const uint block[4],", _NO_SPACE),
    _before_kernel("reference to an array", "METAL_FUNC void f(float (&q)[4]) {}", _NO_SPACE),
    Mutation("pointer of a template's type", "attend", "const device T* from", "const T* from", _NO_SPACE),
    Mutation("pointer in a kernel", "attend", "threadgroup float* own", "float* own", _NO_SPACE),
    Mutation("cast to no space", "attend", "((const device uint4*)from)", "((const uint4*)from)", _NO_SPACE),
    _in_down("reference deduced", "auto& q = weight;", _NO_SPACE),
    _in_down("pointer to a pointer", "thread float* r = &weight; thread float** q = &r;", _NO_SPACE),
    _in_down("second of two variables", "float q = 1, *r = &q;", _NO_SPACE),
    _before_kernel("pointer returned", "METAL_FUNC float* same(thread float* from) { return from; }", _NO_SPACE),
    _before_kernel("pointer in a typedef", "typedef const float* address;", _NO_SPACE),
    # Another address space.
    Mutation("helper takes thread for device", "attend", "device T* from", "thread T* from", "no matching function"),
    Mutation(
        "helper takes constant for device", "attend", "device T* from", "constant T* from", "no matching function"
    ),
    Mutation(
        "thread pointer to threadgroup", "attend", "threadgroup float* own", "thread float* own", "cannot initialize"
    ),
    Mutation("cast drops threadgroup", "attend", "own[64] =", "((thread float*)own)[64] =", _OTHER_SPACE),
    Mutation("cast drops device", "qkv", "(const device uint*)weight", "(const thread uint*)weight", _OTHER_SPACE),
    _in_down("static_cast drops threadgroup", "thread float* q = static_cast<thread float*>(p);", "not allowed"),
    _in_down(
        "reinterpret_cast drops threadgroup", "thread float* q = reinterpret_cast<thread float*>(p);", "not allowed"
    ),
    Mutation("number in two spaces", "gate_up", "gate > most ? most", "gate > limit ? limit", "between address spaces"),
    _in_down("pointer to one space or the other", "auto q = i ? p : &weight;", "incompatible operand types"),
    Mutation("write to an input", "o_proj", "y[at] =", "residual[at] =", "read-only"),
    # Threadgroup memory.
    _in_down("threadgroup array in an inner scope", "if (i) { threadgroup float q[4]; }", "outermost scope"),
    _in_helper("threadgroup array in a helper", "threadgroup float q[4];", "non-kernel function"),
    Mutation("threadgroup array with values", "down", "parts[TOP * ROWS];", "parts[TOP * ROWS] = {0};", "initializer"),
    _before_kernel("threadgroup memory by value", "METAL_FUNC void f(threadgroup float q) {}", "address space"),
    # Conversions.
    Mutation("float to bfloat", "o_proj", "y[at] = T(product", "y[at] = (product", "implicit conversion"),
    Mutation(
        "as_type between sizes", "attend", "as_type<half2>(word)", "as_type<half4>(word)", "as_type between sizes"
    ),
    Mutation("int with uint", "attend", "min(key[n], to - 1)", "min(int(key[n]), to - 1)", "ambiguous"),
    _in_down("vector to another", "float4 q = half4(1.0h);", "cannot initialize"),
    _in_down("cast between vectors", "int4 q = (int4)float4(1.0f);", "means two things"),
    _in_down("vector of too many numbers", "float4 q = float4(1.0f, float4(0.0f));", "number of components"),
    _in_down("narrowing", "const uint q[1] = {-1};", "cannot be narrowed"),
    # What Metal hasn't.
    _in_helper("array of variable length", "float q[lane + 1];", "constant expression"),
    _in_helper("function pointer", "uint (*q)(uint) = logit_key;", "pointers to functions"),
    _in_helper("new", "thread float* q = new float;", "default new"),
    _in_helper("lambda", "auto q = [&](float a) { return a; };", "lambdas"),
    _in_helper("goto", "goto out; out:", "`goto`"),
    _in_helper("static variable", "static float q;", "static local variable"),
    _in_helper("register", "register float q;", "register"),
    _in_helper("double", "double q = 0;", "type 'double'"),
    _in_helper("long long", "long long q = 0;", "`long`"),
    _in_helper("standard library", "float q = std::fabs(0.0f);", "undeclared identifier 'std'"),
    _in_helper("name that Metal lacks", "float q = fmaf(0.0f, 0.0f, 0.0f);", "undeclared identifier 'fmaf'"),
    _in_helper("word of Metal's own", "const uint vertex = lane;", "`vertex`"),
    _in_helper("function of clang's own", "float q = __builtin_sqrtf(1.0f);", "`__builtin_sqrtf`"),
    _in_helper("exception", "throw 1;", "exceptions"),
    _in_helper("run-time type", "auto q = typeid(lane).name();", "typeid"),
    _in_helper("assembly", 'asm("nop");', "`asm`"),
    _before_kernel("noexcept", "METAL_FUNC void f() noexcept {}", "`noexcept`"),
    _before_kernel("recursion", "METAL_FUNC uint f(uint i) { return i ? f(i - 1) : 0; }", "recursion: f calls f"),
    _before_kernel(
        "recursion by way of another",
        "uint g(uint i); METAL_FUNC uint f(uint i) { return g(i); } METAL_FUNC uint g(uint i) { return i ? f(i) : 0; }",
        "recursion: [fg] calls [fg] calls [fg]",
    ),
    _before_kernel("virtual function", "struct Q { virtual void f(); };", "virtual functions"),
    _before_kernel("derived class", "struct P {}; struct Q : P {};", "derived classes"),
    Mutation("program variable", "down", "constant constexpr const uint TAKEN", "constexpr const uint TAKEN", _PROGRAM),
    _before_kernel("program variable with values", "const float Q[2] = {1, 2};", _PROGRAM),
    _before_kernel("program variable of a template", "template <int N> const uint q = N;", _PROGRAM),
    _before_kernel("program variable in a namespace", "namespace q { float r; }", _PROGRAM),
    _in_down("constant variable", "constant float q = 1;", "not `constant`"),
    _in_down("device variable", "device float q;", "global address space"),
    _in_down("structured binding", "const uint q[2] = {0, 1}; auto [a, b] = q;", "before C\\+\\+17"),
    _in_down("variable of an if", "if (uint q = i; q) i = 1;", "before C\\+\\+17"),
)


RIGHT = (
    _before_kernel(
        "a structure", "struct Pair { float a; int4 b; METAL_FUNC float sum() const thread { return a; } };", ""
    ),
    _before_kernel("an overload", "METAL_FUNC uint f(uint i) { return i; } METAL_FUNC uint f(int i) { return 0; }", ""),
    _before_kernel("a default", "template <int N = 3> METAL_FUNC int f(int i = 2) { return i * N; }", ""),
    _before_kernel("constants", "constant float Q[2] = {1, 2}; static constant constexpr const uint P = 3;", ""),
    _in_down("arguments", "float q[2] = {weight, *p}; q[0] = fma(q[1], *p, q[0]); i = i * 2, *q = 1;", ""),
    _before_kernel("an array by reference", "METAL_FUNC void f(thread float (&q)[4], const constant uint* p) {}", ""),
    _before_kernel("a pointer to a pointer", "METAL_FUNC device half* f(device half* thread* q) { return *q; }", ""),
    _in_down("pointers", "threadgroup const float* q = p + i * *(threadgroup uint*)p; thread auto& r = weight;", ""),
    _in_down("arithmetic", "uint q = i & 3 && i * (i & 1u) ? uint(weight) * i : i; const half2 r = half2(1.0h); ", ""),
    _in_down("arrays", "float q[2][3]; q[i][i & 1] = weight; const uint at[2] = {0, i}; q[at[0]][0] = p[at[1]];", ""),
)
"""What Metal takes, in words that come near to what it refuses."""
