"""ViTs that are another model than the plain one, by the names that only they have, or lack."""

from segzoo.layouts.family import Variant

VARIANTS = (
    Variant("LayerScale, as DeiT III, DINOv2 and timm's init_values have", names=("*.ls[12].gamma", "*.lambda[12]", "*layer_scale*")),
    Variant("LayerScale as in EVA, BEiT and DINOv3, most of which have rotary or relative positions that no tensor shows", names=("*.gamma_?",)),
    Variant("no table of positions: they are rotary, relative or computed, and no tensor shows which", lacks=("pos.*",)),
    Variant("attention and MLP side by side in a block", names=("*.attns.*", "*.ffns.*", "*.in_proj.*", "*.mlp_out_proj.*")),
    Variant("a model of videos", names=("*temporal*", "*time_embed*", "*.message_*")),
    Variant("a ViTPose, which adds the position of the class token to all patches", names=("*encoder.layer.*.mlp.fc[12].*",)),
    Variant(
        "a ViTDet, whose blocks attend within windows that no tensor shows", names=("embeddings.projection.*", "backbone.embeddings.projection.*")
    ),
    Variant("detection tokens, as YOLOS has", names=("*detection_tokens*",)),
    Variant("the neck and head of a DPT under transformers' names", names=("neck.reassemble_stage.*",)),
    Variant("the decoder of a CLIPSeg", names=("decoder.film_*",)),
    Variant("an Audio Spectrogram Transformer, whose patches overlap", names=("classifier.layernorm.*",)),
    Variant("norms without a bias (RMSNorm)", names=("*rms_norm*",)),
    Variant("differential attention", names=("*.lambda_[qk]?",)),
    Variant("a network with batch norm before its patch embedding", names=("*patch_embed.backbone.*.running_mean", "*patch_embed.backbone.*.bn.*")),
    Variant("register tokens, as DINOv2 with registers has", names=("*reg_token*", "*register_token*", "*storage_token*")),
    Variant("norms of queries and keys", names=("*.q_norm.*", "*.k_norm.*", "*.norm_q.*", "*.norm_k.*", "*.ln_q.*", "*.ln_k.*")),
    Variant("norms of queries and keys without a bias (RMSNorm)", lacks=("blocks.*.[qk]_norm.bias",)),
    Variant("a norm before the blocks, as CLIP has", names=("*norm_pre.*", "*ln_pre.*", "*pre_norm.*", "*pre_layrnorm.*", "*pre_ln.*")),
    Variant("relative positions, as BEiT and SAM have", names=("*relative_position*", "*rel_pos*")),
    Variant("rotary positions", names=("*rope*", "*rotary*", "*class_pos_emb*", "*embeddings.patch_embeddings.weight")),
    Variant("a gated MLP (SwiGLU)", names=("*.w12.*", "*.w[123].*", "*.fc1_g.*", "*gate_proj*")),
    Variant("LoRA, adapters or prompts beside its weights: merge them first", names=("*lora_*", "*adapter*", "*prompt*")),
    Variant("scales of quantised weights: its integers mean nothing without them", names=("*scale", "*scales", "*zero_point*", "*absmax*", "*SCB")),
    Variant("a final norm behind the pooling (fc_norm), as fine-tuned MAE and timm's global_pool='avg' have", names=("*fc_norm.*",)),
    Variant("no final norm", lacks=("norm.*",)),
)
ASIDE = {
    "mask_token": "used in pre-training only",
    "*.mask_token": "used in pre-training only",
    "decoder_*": "MAE's decoder, used in pre-training only",
    "head.mlp.*": "DINO's projection head, used in pre-training only",
    "head.last_layer.*": "DINO's projection head, used in pre-training only",
}
"""Names that belong to the training of a ViT, and that no forward pass of the ViT uses."""
