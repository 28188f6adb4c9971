"""The names that users of other libraries know: ``from pellucid.compat import captum, lime, shap``; the rest stays."""
