/* SPDX-License-Identifier: GPL-2.0 */
/*
 * struct ebpfpy_demo_ops: functions of this module that BPF programs can implement (struct_ops).
 *
 * What is registered takes part in every write to /proc/ebpfpy_demo:
 *
 *	result = transform(value) * tuning.scale.factor / tuning.scale.divisor + tuning.offset
 *	if (result > limit), with a limit: result = limit
 *	if (inspect) inspect(state, result)
 *
 * and the result is what `cat /proc/ebpfpy_demo` prints as the last value. Modules can have such structures where the
 * kernel has the macro register_bpf_struct_ops (6.9); `reg` takes the link since 6.11.
 */
#ifdef register_bpf_struct_ops

struct ebpfpy_demo_scale {
	int factor;
	int divisor;
};

struct ebpfpy_demo_tuning {
	struct ebpfpy_demo_scale scale;
	int offset;
};

struct ebpfpy_demo_ops {
	int (*transform)(int value);
	/* Not called when it is empty. */
	int (*inspect)(struct ebpfpy_demo_state *target, int result);
	/* There is a member, but no program may implement it. */
	int (*reserved)(void);
	struct ebpfpy_demo_tuning tuning;
	u32 limit;
	char name[16];
};

static struct ebpfpy_demo_ops *registered;
static DEFINE_MUTEX(registration);

static int ebpfpy_demo_apply(struct ebpfpy_demo_state *target, int value)
{
	s64 result = value;

	mutex_lock(&registration);
	if (registered) {
		result = registered->transform(value);
		result = result * registered->tuning.scale.factor / registered->tuning.scale.divisor;
		result += registered->tuning.offset;
		if (registered->limit && result > registered->limit)
			result = registered->limit;
		if (registered->inspect)
			registered->inspect(target, result);
	}
	mutex_unlock(&registration);
	return result;
}

static int ops_init(struct btf *btf)
{
	return 0;
}

static bool ops_is_valid_access(int off, int size, enum bpf_access_type type, const struct bpf_prog *prog,
				struct bpf_insn_access_aux *info)
{
	return bpf_tracing_btf_ctx_access(off, size, type, prog, info);
}

static const struct bpf_verifier_ops ops_verifier = {
	.get_func_proto = bpf_base_func_proto,
	.is_valid_access = ops_is_valid_access,
};

/* Copy what is no function; 0 leaves a member to the kernel, which takes functions and refuses other values. */
static int ops_init_member(const struct btf_type *type, const struct btf_member *member, void *kdata, const void *udata)
{
	const struct ebpfpy_demo_ops *from = udata;
	struct ebpfpy_demo_ops *to = kdata;

	switch (__btf_member_bit_offset(type, member) / 8) {
	case offsetof(struct ebpfpy_demo_ops, tuning):
		to->tuning = from->tuning;
		return 1;
	case offsetof(struct ebpfpy_demo_ops, limit):
		to->limit = from->limit;
		return 1;
	case offsetof(struct ebpfpy_demo_ops, name):
		strscpy(to->name, from->name, sizeof(to->name));
		return 1;
	}
	return 0;
}

static int ops_validate(void *kdata)
{
	struct ebpfpy_demo_ops *ops = kdata;

	return ops->transform && ops->tuning.scale.divisor ? 0 : -EINVAL;
}

static int ops_reg(void *kdata, struct bpf_link *link)
{
	int error = -EEXIST;

	mutex_lock(&registration);
	if (!registered) {
		registered = kdata;
		error = 0;
	}
	mutex_unlock(&registration);
	return error;
}

static void ops_unreg(void *kdata, struct bpf_link *link)
{
	mutex_lock(&registration);
	if (registered == kdata)
		registered = NULL;
	mutex_unlock(&registration);
}

static int ops_update(void *kdata, void *old, struct bpf_link *link)
{
	int error = -ENOENT;

	mutex_lock(&registration);
	if (registered == old) {
		registered = kdata;
		error = 0;
	}
	mutex_unlock(&registration);
	return error;
}

/* A member without a stub can have no program. */
static int stub_transform(int value)
{
	return value;
}

static int stub_inspect(struct ebpfpy_demo_state *target, int result)
{
	return 0;
}

static struct ebpfpy_demo_ops stubs = {
	.transform = stub_transform,
	.inspect = stub_inspect,
};

static struct bpf_struct_ops operations_of_programs = {
	.verifier_ops = &ops_verifier,
	.init = ops_init,
	.init_member = ops_init_member,
	.validate = ops_validate,
	.reg = ops_reg,
	.unreg = ops_unreg,
	.update = ops_update,
	.cfi_stubs = &stubs,
	.owner = THIS_MODULE,
	.name = "ebpfpy_demo_ops",
};

static void __init ebpfpy_demo_register_ops(void)
{
	int error = register_bpf_struct_ops(&operations_of_programs, ebpfpy_demo_ops);

	if (error)
		pr_warn("ebpfpy_demo: no struct_ops: %d\n", error);
}

#else

static int ebpfpy_demo_apply(struct ebpfpy_demo_state *target, int value)
{
	return value;
}

static void __init ebpfpy_demo_register_ops(void)
{
}

#endif
