"""Names of models, data sets, software and repositories, and what stands for them in full.

Names that their capitals or digits tell from words (TensorFlow, ResNet-50) need no entry. The rest
are known by this list, and the others that look like names yet are terms, such as metrics, file
formats and hardware, by another one.
"""

_CAPITALIZED = (
    "Adadelta Adagrad Adam Adamax AdamW Airflow Anaconda Audacity Azure Bioconductor "
    "Bitbucket Bokeh Caffe Caffe2 Catboost Chainer Cityscapes Colab Colaboratory Conda Darknet "
    "Dask Dataverse Detectron Django Docker Dropbox Dryad Elasticsearch Figshare Firebase Flask "
    "Flickr Gensim Gluon Gradio Grafana Hadoop Heroku Horovod Hyperopt Inception Jupyter "
    "Kaggle Keras Kubernetes Labelbox Labelme LeNet Landsat Lasagne Librosa "
    "Lightgbm Linux Matlab Matplotlib Mathematica Mendeley Minio Mlflow Movebank "
    "Mxnet Numpy Opencv Optuna Pandas Pangaea Pinterest Plotly Postgresql Prodigy "
    "Pylearn Python Pytorch Qgis Redis Roboflow Rstudio Sagemaker Scikit Scipy Seaborn "
    "Simulink Slurm Spacy Spark Statsmodels Stata Streamlit Supervisely Tableau Tensorboard "
    "Tensorflow Theano Tidyverse Torch Torchvision Transkribus Ubuntu Vimeo "
    "Weka Wikidata Wikipedia Xception Xgboost Zenodo Zooniverse Android Arcgis"
)
_SMALL = "scikit-learn scikit-image iNaturalist eBird fastai fast.ai ggplot2"
_SHORT = "AWS GCP UCI VGG COCO CNTK ONNX CUDA VOC ADE20K DVC GBIF SVHN CUB ERDDAP NEON OBIS"
_WORDS = (
    "Google Earth Engine|Google Cloud|Google Colab|Amazon Web Services|Microsoft Azure|Pascal VOC"
    "|Open Images|Fashion MNIST|Google Drive|Google Scholar|Hugging Face|Weights & Biases"
    "|Open Science Framework|Harvard Dataverse|Macaulay Library|Caltech Camera Traps"
    "|Snapshot Serengeti|Google Images|Google AI Platform|Azure Machine Learning|Vertex AI"
    "|Papers with Code|Papers With Code|Web of Science|Jupyter Notebook|Visual Studio"
)

KNOWN = frozenset(_CAPITALIZED.casefold().split())
"""Names that are written with a capital."""

VERSIONED = frozenset(
    ("bert", "cifar", "detectron", "gpt", "inception", "llama", "sentinel", "vgg", "yolo")
)
"""Names that are known by a version behind them, as in `VGG-16`."""

SMALL = frozenset(_SMALL.split())
"""Names that are written without one."""

SHORT = frozenset(_SHORT.split())
"""Names in capitals that are shorter than names are, or like a common term."""

IN_WORDS = tuple(_WORDS.split("|"))
"""Names of several words."""

_TERMS = (
    "accuracies acm acpcs aemet aic aiccs ais amd ann api apis arcgis arxiv ascii auc aucroc "
    "auprc auroc avi bic bilinear bmp bptt cdf cern cnn cnns corr covid cpu cpus credit crs csv "
    "cvpr db dem dems dna doc doctype docx doi dois dpi dsm dtm eccv ecdc edna epsg esri exif "
    "explanations facebook false fao fasta fastq feb fig figure flac fps fwiou geforce gelu "
    "geoforce geojson geotiff gif gigaflops gis github gitlab gpgpu gps gpu gpus gtx gui hdd "
    "hdf hdf5 hertz however hpai hpc hsv html http https iccv iclr icml ide ids ieee ijcnn "
    "important inceptionscore intel io ios iot iou ip isbn issn iucn jan javascript jpeg "
    "jpeg2000 jpg json kml latex laz leakyrelu lidar linkedin lstm mae map mape mcc mcmc md5 "
    "mfcc mfccs miou ml mlaas mov mpeg msc mse multispectral nan nasa ndvi nerc netcdf neurips "
    "nips nir nlp noaa npy nrcs nserc nsf nvidia ocr odt opensource orcid osdi pca pcr pdf pdfs "
    "pesq phd plos pmlr png ppm prauc prelu psnr qacc ram readme relu researchgate rest rgb "
    "rgbnir rmse rmsle rna rnn rnns roc rocauc rov rsquared rtx sar sars segsnr selu sgd sha1 "
    "shap shapefile shapley sigplan softmax softwarex sql ssd ssim std step steps svg swir "
    "table tif tiff toc todo tpu tpus true tsv twitter txt uav uavs ui uk unep unesco url urls "
    "usa usb usda usenix usgs utf8 utm uv wav wgs wgs84 who wma xlsx xml yaml yes youtube zip"
)

TERMS = frozenset(_TERMS.casefold().split())
"""Terms, organisations and meetings that look like names."""

IN_FULL = {
    "cnn": "convolutionalneuralnet",
    "rnn": "recurrentneuralnet",
    "dnn": "deepneuralnet",
    "ann": "artificialneuralnet",
    "gan": "generativeadversarial",
    "lstm": "longshort",
    "svm": "supportvector",
    "sgd": "stochasticgradientdescent",
    "smote": "syntheticminority",
    "lime": "localinterpretable",
    "shap": "shapley",
    "gradcam": "gradientweighted",
    "adam": "adaptivemoment",
    "rmsprop": "rootmeansquareprop",
    "adagrad": "adaptivegradient",
    "tsne": "stochasticneighbo",
    "aws": "amazonweb",
    "gcp": "googlecloud",
    "gbif": "globalbiodiversityinformation",
    "coco": "commonobjectsincontext",
    "yolo": "youonlylookonce",
    "vgg": "visualgeometrygroup",
    "densenet": "denselyconnected",
    "resnet": "residualnet",
    "dcgan": "deepconvolutionalgenerative",
    "ssd": "singleshot",
    "fpn": "featurepyramid",
    "rpn": "regionproposal",
    "vit": "visiontransformer",
    "colab": "googlecolab",
}
"""What stands for a name in full, folded; the first words are enough."""
