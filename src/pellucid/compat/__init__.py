"""The names that users of other libraries know: ``from pellucid.compat import shap, lime``. Only the import changes."""
