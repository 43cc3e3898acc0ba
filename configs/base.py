"""Every key of every kind of run: default and meaning. A config file starts here.

The result is locked: a key that is not listed here is refused, in a file and on the command line.
Embedders and rerankers: base_embedders.py.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder as _unset  # takes a value of one type

from jaxrl.models import fresh


def rl():
    """Group-relative reinforcement learning (jaxrl/recipes/rl.py)."""
    c = common()
    c.env = ConfigDict(
        {
            "name": "reasoning_gym",  # a key of jaxrl.envs.table.ENVS, or "module:Class"
            "params": {},  # keyword arguments of the env
        }
    )
    c.eval = ConfigDict(
        {
            "params": {},  # what differs from env.params in the held-out env; {} = no evaluation
            "every": 0,  # updates between evaluations; 0 = before and after only
            "prompts": 32,  # held-out prompts a batch
        }
    )
    c.rollout = ConfigDict(
        {
            "prompts": 16,  # P: tasks an update
            "group": 8,  # G: samples a task
            "buckets": (64, 128, 256),  # prompt lengths that programs are compiled for
            "prefill": 0,  # columns of a prompt computed at a time; 0 = all: long prompts
            "max_new": 64,  # R: longest response in tokens
            "temperature": 1.0,  # 0 = greedy
            "top_k": 0,  # 0 = off
            "top_p": 1.0,  # 1 = off
            "zero_variance": "keep",  # groups without signal: keep, drop, or resample (DAPO)
            # S: batch i is sampled with the weights of update max(0, i − S), while earlier batches
            # are learned from; 0 = with the newest. S batches more are sampled than learned from
            "max_staleness": 0,
            "parts": 1,  # of a batch: while one is sampled, the one before it is scored
            "rounds": 1,  # most sampling rounds an update when resampling
            "workers": 2,  # processes that score
            "seconds": 10.0,  # limit for scoring one response; beyond, it is unscorable
            "memory_mb": 1024,  # limit for a scoring process
        }
    )
    c.overlong = ConfigDict(
        {
            "buffer": 0,  # tokens before max_new in which the penalty grows (DAPO); 0 = off
            "factor": 1.0,  # penalty of a response of max_new tokens
        }
    )
    c.advantage, c.loss = _advantage(), _loss()
    c.learner = ConfigDict(
        {
            "width": 0,  # columns of a row; 0 = room for one group of the longest kind
            "scored": 0,  # scored tokens of a row; 0 = the same
            "micro": 1,  # rows a micro-batch
            "epochs": 1,  # updates on each batch of rollouts
            "old_logp": "sampler",  # where the proximal log-probs come from: sampler, learner
        }
    )
    c.log = ConfigDict({"rollouts": 8})  # rollouts kept an update: the best and the worst
    return c.lock()


def agent():
    """Reinforcement learning of agents: many turns, tools, judges (jaxrl/recipes/agent.py)."""
    c = common()
    c.env = ConfigDict(
        {
            "name": "open_travel",  # a key of jaxrl.envs.table.ENVS, or "module:Class"
            "params": {},  # keyword arguments of the env
        }
    )
    c.eval = ConfigDict(
        {
            "params": {},  # what differs from env.params in the held-out env; {} = no evaluation
            "every": 0,  # updates between evaluations; 0 = before and after only
        }
    )
    c.rollout = ConfigDict(
        {
            "prompts": 8,  # P: tasks an update
            "group": 8,  # G: episodes a task
            "anchor": False,  # the first of a group is greedy (ArenaRL)
            "temperature": 1.0,
            "top_k": 0,  # 0 = off
            "top_p": 1.0,  # 1 = off
            "zero_variance": "keep",  # groups without signal: keep, drop
            "prompt": 2048,  # longest prompt in tokens, the tools' schemas included
            "schemas": True,  # shown in the prompt; False: the policy was trained to know them
            "turns": 8,  # replies; with the last of them tools cannot be called any more
            "tokens": 2048,  # behind the prompt, what tools return included
            "reply": 512,  # tokens of one reply
            "observation": 4000,  # characters of one result; of a longer one the middle is cut
            "seconds": 600.0,  # of an episode
            # kept: earlier turns stay as they were drawn, and an episode is one sample; rendered:
            # the template renders them anew each turn, and every turn is a sample
            "history": "kept",
            "at_once": 64,  # episodes under way together
            "workers": 2,  # processes that run tools and score
            "call_seconds": 10.0,  # limit of one call of a tool, and of scoring
            "memory_mb": 1024,  # limit for such a process
        }
    )
    c.engine = ConfigDict(
        {
            "slots": 16,  # requests that decode at once
            "pages": 1024,  # of keys and values, shared by all
            "page": 16,  # tokens of a page
            "steps": 8,  # tokens that are drawn between two looks of the host
            "chunk": 256,  # tokens of a piece of a prompt
            "pieces": 8,  # so many are prefilled between two turns of decoding
        }
    )
    c.reward = ConfigDict(
        {
            "name": "env",  # env, tournament, pointwise (jaxrl/rewards/graders.py)
            "topology": "single_elimination",  # a key of jaxrl.ops.tournament.TOPOLOGIES
            "judge": "program",  # program: the env's utility and noise; endpoint: a chat model
            "sigma": 0.0,  # program: the judge's noise, in units of utility
            "shared": 0.0,  # program: share of its variance that both sides of a call have alike
            "bias": 0.0,  # program: what the one shown first gets on top
            "rubric": "travel",  # endpoint: a key of jaxrl.rewards.rubric.RUBRICS
            "tries": 10,  # endpoint: before a judgement is neutral
            "url": "",  # endpoint: https://…/v1; its key is read from OPENAI_API_KEY
            "model": "",  # endpoint: the judge's name there
            "record": "",  # endpoint: file of its replies; with url "" they are all there is
        }
    )
    c.advantage, c.loss = _advantage(), _loss()
    c.learner = ConfigDict(
        {
            "width": 0,  # columns of a row; 0 = room for one group of the longest kind
            "scored": 0,  # scored tokens of a row; 0 = the same
            "micro": 1,  # rows a micro-batch
            "epochs": 1,  # updates on each batch of rollouts
            "old_logp": "sampler",  # where the proximal log-probs come from: sampler, learner
        }
    )
    c.log = ConfigDict({"rollouts": 8})  # rollouts kept an update: the best and the worst
    return c.lock()


def stages():
    """An agent in one command: expert's episodes → SFT → RL (jaxrl/recipes/stages.py)."""
    start = fresh.FreshConfig()
    c = ConfigDict(
        {
            # the policy if sft.model.checkpoint is empty: small, random, of its own vocabulary
            "start": ConfigDict(
                {
                    "vocab": start.vocab,  # tokens at most, fitted to the expert's episodes
                    "width": start.width,
                    "layers": start.layers,
                    "heads": start.heads,
                    "feed_forward": start.feed_forward,
                    "context": start.context,
                }
            ),
            "expert": ConfigDict(
                {
                    "params": {},  # what differs from rl.env.params in the env it solves for SFT
                    "tasks": 0,  # so many of them; 0 = all
                    "held_out": 32,  # more, for the loss of held-out episodes
                }
            ),
            "sft": sft(),
            "rl": agent(),  # its model.checkpoint is what SFT has made
        }
    )
    return c.lock()


def sft():
    """Supervised fine-tuning on messages or prompt-response pairs (jaxrl/recipes/sft.py)."""
    c = common()
    c.data = ConfigDict(
        {
            # JSON lines: {"messages": [...]}, rendered by the model's chat template, every turn of
            # the assistant in the loss; or {"prompt": ..., "response": ...}, verbatim
            "path": "",
            "eval_path": "",  # held-out lines of the same form; "" = no evaluation
            "batch": 16,  # examples an update
            "max_length": 512,  # longest example in tokens; a longer one is refused
        }
    )
    c.eval = ConfigDict({"every": 0})  # updates between evaluations; 0 = before and after only
    c.learner = ConfigDict(
        {
            "width": 0,  # columns of a row, which holds several short examples; 0 = max_length
            "scored": 0,  # tokens of a row that can be in the loss; 0 = width
            "micro": 1,  # rows a micro-batch
        }
    )
    return c.lock()


def preference():
    """Learning from preferences: DPO and its kin, reward models (jaxrl/recipes/preference.py)."""
    c = common()
    c.data = ConfigDict(
        {
            # JSON lines: {"prompt": ..., "chosen": ..., "rejected": ...}, and for kto also
            # {"prompt": ..., "response": ..., "label": true}; a prompt is text or messages
            "path": "",
            "eval_path": "",  # held-out lines of the same form; "" = no evaluation
            "batch": 16,  # pairs (kto: responses) an update
            "max_length": 512,  # longest prompt with one response, in tokens; longer: refused
        }
    )
    c.loss = ConfigDict(
        {  # unset = the default that preferences.OPTIONS gives for the name
            "name": "dpo",  # a key of jaxrl.algos.preferences.PREFERENCES
            "beta": _unset(float),  # strength of the reference (ipo: τ; simpo: scale of the reward)
            "gamma": _unset(float),  # simpo: the margin to win by
            "weight": _unset(float),  # orpo: of the odds ratio
            "desirable": _unset(float),  # kto: weight of desirable responses
            "undesirable": _unset(float),
        }
    )
    c.eval = ConfigDict({"every": 0})  # updates between evaluations; 0 = before and after only
    c.learner = ConfigDict(
        {
            "width": 0,  # columns of a row, which holds several short pairs; 0 = 2 max_length
            "scored": 0,  # tokens of a row that can be in the loss; 0 = width
            "micro": 1,  # rows a micro-batch
        }
    )
    return c.lock()


def common():
    """What every kind of run has."""
    return ConfigDict(
        {
            "seed": 0,
            "steps": 100,  # updates
            "model": ConfigDict(
                {
                    "checkpoint": "",  # HF directory, .gguf file, or package:NAME/FILE.gguf
                    "sha256": "",  # of a .gguf file; "" = not checked
                    "dtype": "float32",  # of activations and products
                    # of what is trained: float32 (master weights), or bfloat16, which each update
                    # rounds by chance; moments and sums of gradients are float32 either way
                    "params": "float32",
                    # of the frozen model under adapters: float32, bfloat16, or int8 (projections;
                    # the rest bfloat16); norms and biases stay float32
                    "base": "float32",
                    "lora": ConfigDict(
                        {  # rank > 0 trains adapters (and heads); a reference has none of them
                            "rank": 0,  # 0 = all parameters are trained
                            "alpha": 16.0,  # the change is alpha / rank · A B
                            "targets": ("q", "k", "v", "o", "gate", "up", "down"),
                            "adapter": "",  # peft directory to start from; "" = no change at first
                        }
                    ),
                    # what the backward pass recomputes: none, dots (all but products), block (all),
                    # offload (all; what enters a layer waits in the host's memory)
                    "remat": "none",
                    # weight of the load-balancing loss of a mixture of experts (models/moe.py), at
                    # the cost of one more forward pass; 0 = off
                    "router_loss": 0.0,
                }
            ),
            "mesh": ConfigDict(
                {  # devices by axis; -1 = the rest
                    "data": -1,  # rows
                    "fsdp": 1,  # rows, and weights by their width
                    "context": 1,  # columns of a row, and weights by their width: long contexts
                    "tensor": 1,  # heads, feed-forward units and vocabulary
                }
            ),
            "optimizer": ConfigDict(
                {
                    "lr": 1e-6,
                    "b1": 0.9,
                    "b2": 0.999,
                    "eps": 1e-8,
                    "weight_decay": 0.0,
                    "clip": 1.0,  # largest global gradient norm; 0 = off
                    "warmup": 0,  # updates
                    "schedule": "constant",  # constant, linear, cosine
                    "final": 0.0,  # share of lr at the end of linear and cosine
                }
            ),
            "checkpoint": ConfigDict({"every": 10, "keep": 2}),  # updates; 0 = at the end only
        }
    )


def _advantage():
    return ConfigDict(
        {
            "name": "grpo",  # a key of jaxrl.algos.estimators.ESTIMATORS
            "ddof": 1,  # of the group's standard deviation
            "eps": 1e-6,  # guards the division by it
            "eps_mode": "add",  # add, floor
            "singleton": "zero",  # a group with one scorable sample: zero, raw, error
            "zero_std_rel_tol": 1e-6,  # below this, relative to the rewards, a std is zero
            "style": "",  # verl, trl, tunix, openrlhf: that library's choice of the five above
            # What follows is taken by the estimators named alone, and refused by the others.
            "mean_level": "group",  # levels: group, batch, none
            "std_level": "group",  # levels: the same; gigpo: group, none
            "leave_one_out": False,  # levels: the mean is over the others
            "weights": (),  # gdpo: of the reward dimensions; () = equal
            "whiten_by": "tokens",  # gdpo, reinforce_plus_plus_baseline: tokens, samples
            "gpg_counts": "groups",  # gpg: the correction counts groups (paper), rewards (verl)
            "keep": 0,  # gfpo: samples kept of a group; 0 = half
            "keep_by": "length",  # gfpo: length, efficiency
            "gamma": 1.0,  # token estimators: discount a token
            "lam": 1.0,  # gae
            "whiten": False,  # gae, vtrace, upgo: standardise over the batch's tokens
            "rho_clip": 1.0,  # vtrace, upgo: bound on the weight of an advantage
            "c_clip": 1.0,  # vtrace: bound on the weight of a trace
            "zero_tail": False,  # optimal token baselines: none where one sample is left
            "step_weight": 1.0,  # gigpo: of the step advantage
            "round_gamma": 0.995,  # efficiency_eapo: discount a round
            "all_correct": "keep",  # efficiency_eapo: questions without a contrast: keep, zero
            "multiple": 1,  # efficiency_eapo: samples in the loss, rounded down to a multiple of it
            "evidence_mode": "abs",  # evidence_eapo: abs, minmax, z
            "evidence_weight": 0.3,  # evidence_eapo: must not outweigh the outcome
            "outcome_weight": 0.7,  # evidence_eapo
            "format_weight": 0.0,  # evidence_eapo
            "execution_tokens": "later",  # anchor_execution: later steps only, or all
        }
    )


def _loss():
    return ConfigDict(
        {  # unset = the default that objectives.OPTIONS gives for the name, and refused otherwise
            "name": "ppo_clip",  # a key of jaxrl.algos.objectives.OBJECTIVES
            "eps_low": _unset(float),  # how far the ratio (dppo: the law) may move, downward
            "eps_high": _unset(float),  # and upward
            "dual_clip": _unset(float),  # bound on the ratio where the advantage is negative
            "delta": _unset(float),  # the same in two_sided_clip
            "ratio": _unset(str),  # token, sequence (GSPO), sequence_token
            "max_ratio": _unset(float),  # cap of the ratio in dppo_tv and dppo_kl
            "tau_pos": _unset(float),  # sapo: how fast off-policy tokens fade, by the advantage
            "tau_neg": _unset(float),
            "beta": _unset(float),  # dro: weight of the squared log-ratio
            "cov_share": _unset(float),  # clip_cov, kl_cov: share of tokens that are singled out
            "cov_low": _unset(float),  # clip_cov: among covariances between these two
            "cov_high": _unset(float),
            "cov_coef": _unset(float),  # kl_cov: weight of the penalty on them
            "aggregation": _unset(str),  # a key of jaxrl.ops.aggregations.AGGREGATIONS
            "max_length": _unset(int),  # divisor of seq_mean_token_sum_norm (Dr.GRPO)
            "kl_coef": _unset(float),  # weight of the KL to the initial policy; 0 = no copy is kept
            "kl_form": _unset(str),  # k1, abs, k2, k3, or k1+, abs+, k3+ with k2's gradient
            "kl_limit": _unset(float),  # the KL's log-ratio is kept within ± this
            "entropy_coef": _unset(float),
            # share of tokens, those of highest entropy, that teach; 1 = all
            "top_entropy": _unset(float),
            # weights for what the sampler computes otherwise than the learner: none, tis_token,
            # tis_sequence, icepop, mask_sequence, off_policy_mask
            "correction": _unset(str),
            "correction_low": _unset(float),  # the weights it keeps
            "correction_high": _unset(float),  # also the cap of tis, and δ of off_policy_mask
        }
    )
